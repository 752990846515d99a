# Make schedules; the runner decides by content what has to run. `make help` lists the commands.
SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-builtin-rules --warn-undefined-variables --no-print-directory
.DEFAULT_GOAL := help

PYTHON    ?= python3
VENV      ?= .venv
SEEDS     ?=
FORCE     ?=
JOBS      ?=
TOLERANCE ?= 0.02
BIN       := $(VENV)/bin
READY     := $(VENV)/.ready
RUN       := $(BIN)/python -m robexpl.report.runner $(if $(FORCE),--force)

# A misspelt variable would change nothing in silence.
SETTINGS  := PYTHON VENV SEEDS FORCE JOBS TOLERANCE NOTEBOOKS ALLOW_CUDA
$(if $(filter-out 1,$(FORCE)),$(error expected FORCE=1 or nothing, got FORCE=$(FORCE)))
UNKNOWN   := $(filter-out $(SETTINGS) ROBEXPL_% PIP_%,$(foreach v,$(.VARIABLES),$(if $(findstring command,$(origin $v)),$v)))
$(if $(strip $(UNKNOWN)),$(error unknown variable $(strip $(UNKNOWN)); known: $(SETTINGS)))

# An environment that is there keeps the Python it was made with, whatever PYTHON says.
OTHER := $(if $(findstring command,$(origin PYTHON)),$(shell [ ! -e "$(VENV)/pyvenv.cfg" ] || { \
  v=$$("$(PYTHON)" -c 'import platform; print(platform.python_version())' 2>&1) && grep -q "^version[a-z_]* = $$v" "$(VENV)/pyvenv.cfg"; } || echo other))
$(if $(OTHER),$(error $(VENV) was made with another Python than PYTHON=$(PYTHON); remove it, or name a new one with VENV=))

# The notebooks, by the names of their templates, longest first: once for the full profile alone, once per dataset, once.
FULL := audit
EACH := sensitivity rq1 anchors models rq2
ONCE := background table1 verdicts

DATASETS.full := mnist california
DATASETS.demo := digits breast_cancer
FIRST.full    := $(FULL)
FIRST.demo    :=
# Where a profile's executed notebooks lie, for the shell: folders may have any name.
FOLDER.full   := "$${NOTEBOOKS:-notebooks}"
FOLDER.demo   := "$${ROBEXPL_BUILD:-build}/demo/notebooks"

DRY := $(findstring n,$(filter-out -%,$(firstword $(MAKEFLAGS))))
# PROFILE, OPTIONS: where something is not current (exit code 4), the expensive part is computed on all cores, or in JOBS
# processes; then the notebooks are made, two at a time unless -j says otherwise, as one on MNIST takes 1.6 GB.
define REPORT
@$(if $(DRY),,+)report() { $(BIN)/python -m robexpl.report.report --profile $1 $(if $(SEEDS),--seeds "$(SEEDS)") $2 "$$@" \
	$(FOLDER.$1) $(notdir $(NOTEBOOKS.$1)); }
	report $(if $(JOBS),--jobs "$(JOBS)") $(if $(FORCE),--force) || { code=$$?; [ $$code = 4 ] || exit $$code
	$(MAKE) -o "$(READY)" $(if $(filter -j%,$(MAKEFLAGS)),,-j$(if $(filter 1,$(JOBS)),1,2)) $1-notebooks
	report --made; }
endef

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1\t/p' Makefile | expand -t 18

demo: $(READY)  ## everything from nothing on embedded data, to build/demo/paper.pdf: 3 to 4 minutes, offline
	$(call REPORT,demo,--paper)

test: $(READY)  ## unit tests, and the small notebooks executed and compared: 3 to 4 minutes, offline
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(READY)  ## a small report killed, crowded, out of room and damaged: 9 minutes, then the README's table of it
	ROBEXPL_TRUST=paper/trust.json $(BIN)/python -m pytest -m slow
	@$(BIN)/python -m robexpl.report.readme

test-all: test test-slow  ## both

report: $(READY)  ## every full notebook that is not current, then paper/paper.pdf and the README's results; SEEDS=n, JOBS=n
	$(call REPORT,full,--paper)

verify: $(READY)  ## recompute every full result from an empty cache and compare with the stored ones: about 4 hours, estimated
	@$(if $(DRY),exit 0)
	$(if $(SEEDS),echo "FAILED verify: expected no SEEDS: the stored results have their own" >&2; exit 1)
	scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT
	# behind the command, where they also win over variables of this command line
	$(MAKE) -o "$(READY)" ROBEXPL_BUILD="$$scratch/build" ROBEXPL_GENERATED="$$scratch/generated" NOTEBOOKS="$$scratch/notebooks" full-results
	$(BIN)/python -m robexpl.report.compare notebooks "$$scratch/notebooks" --tolerance $(TOLERANCE)
	$(BIN)/python -m robexpl.report.compare paper/generated "$$scratch/generated" --tolerance $(TOLERANCE)

golden: $(READY)  ## execute the small notebooks afresh and store them for the tests: 3 to 4 minutes
	@$(if $(DRY),exit 0)
	scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT
	$(MAKE) -o "$(READY)" ROBEXPL_BUILD="$$scratch" NOTEBOOKS= SEEDS= demo-results
	cp "$$scratch"/demo/notebooks/*.ipynb "$$scratch"/
	mkdir -p tests/notebooks
	rm -f tests/notebooks/*.ipynb
	mv "$$scratch"/*.ipynb tests/notebooks/

bench: $(READY)  ## measure the hot paths against their peers, to paper/generated/bench.json: 5 to 8 minutes
	@peers="$${ROBEXPL_BUILD:-build}/peers"
	if [ ! .ci/peers.txt -ot "$$peers/.ready" ]; then
	  rm -rf "$$peers"
	  $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --target "$$peers" -r .ci/peers.txt \
	    && touch "$$peers/.ready" || echo "bench  some peers cannot be installed, see above; they are skipped" >&2
	fi
	OMP_NUM_THREADS=1 $(BIN)/python -m robexpl.report.bench
	$(BIN)/python -m robexpl.report.readme

lint: $(READY)  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lab: $(READY)  ## JupyterLab; open a template with "Open With", "Notebook"
	$(BIN)/jupyter lab

clean:  ## remove caches, logs and the demo; committed results stay
	cd "$${ROBEXPL_BUILD:-build}" 2>/dev/null && rm -rf cache demo failed locks log || true

$(READY): environment.yml constraints.txt pyproject.toml .ci/setup.py
	@$(PYTHON) .ci/setup.py $(VENV)
	@touch $@

# One target per notebook: PROFILE, TEMPLATE, DATASET or nothing.
define NOTEBOOK
NOTEBOOKS.$1 += $1/$2$(addprefix -,$3)
$1/$2$(addprefix -,$3): | $$(READY)
	@$$(RUN) notebooks/$2.py $$(FOLDER.$1)/$2$(addprefix -,$3).ipynb \
	$(addprefix -p dataset=,$3) -o profile=$1 $(addprefix -o seeds=,$(SEEDS))
endef
$(foreach p,full demo,$(eval NOTEBOOKS.$p :=) \
  $(foreach t,$(FIRST.$p),$(eval $(call NOTEBOOK,$p,$t,))) \
  $(foreach t,$(EACH),$(foreach d,$(DATASETS.$p),$(eval $(call NOTEBOOK,$p,$t,$d)))) \
  $(foreach t,$(ONCE),$(eval $(call NOTEBOOK,$p,$t,))))
# The verdicts come last: they use what all others cache.
$(foreach p,full demo,$(eval $p/verdicts: | $(filter-out $p/verdicts,$(NOTEBOOKS.$p))))
full-notebooks: $(NOTEBOOKS.full)
demo-notebooks: $(NOTEBOOKS.demo)
full-results demo-results: %-results: $(READY)
	$(call REPORT,$*,)

.ONESHELL:
.PHONY: help demo test test-slow test-all report verify golden bench lint lab clean full-notebooks demo-notebooks full-results demo-results $(NOTEBOOKS.full) $(NOTEBOOKS.demo)
