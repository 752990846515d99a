# Make only calls the commands; what has to run is decided by content. `make help` lists them.
$(if $(filter oneshell,$(.FEATURES)),,$(error GNU make 3.82 or newer is needed; on macOS: brew install make, then gmake))
SHELL         := bash
.SHELLFLAGS   := -eu -o pipefail -c
MAKEFLAGS     += --no-builtin-rules --warn-undefined-variables --no-print-directory
.DEFAULT_GOAL := help
.ONESHELL:
.PHONY: help demo test test-slow test-kernels test-all report notebook current verify golden bench site lint lab clean

PYTHON ?= python3
VENV   ?= .venv
# Set on the command line alone, so that no variable of the environment changes results.
$(foreach v,SEEDS JOBS FORCE NAME DATASET TARGET PROFILE CLUSTER,$(eval $v :=))
TOLERANCE := 0.02

# A misspelt variable would change nothing in silence, and make splits names at spaces.
SETTINGS := PYTHON VENV SEEDS JOBS FORCE NAME DATASET TARGET PROFILE CLUSTER TOLERANCE ALLOW_CUDA
UNKNOWN  := $(filter-out $(SETTINGS) .% ROBEXPL_% PIP_%,$(foreach v,$(.VARIABLES),$(if $(findstring command,$(origin $v)),$v)))
$(if $(strip $(UNKNOWN)),$(error unknown variable $(strip $(UNKNOWN)); known: $(SETTINGS)))
$(if $(CLUSTER),$(if $(filter-out demo report,$(MAKECMDGOALS)),$(error expected CLUSTER for demo or report alone, got it for $(MAKECMDGOALS))))
$(if $(filter-out 1,$(FORCE)),$(error expected FORCE=1 or nothing, got FORCE=$(FORCE)))
$(if $(filter 1,$(words $(VENV))),,$(error expected VENV as a path without spaces, relative to this folder, got VENV=$(VENV)))
# An environment that is there keeps the Python it was made with, whatever PYTHON says.
OTHER := $(if $(findstring command,$(origin PYTHON)),$(shell [ ! -e "$(VENV)/pyvenv.cfg" ] || { \
  v=$$("$(PYTHON)" -c 'import platform; print(platform.python_version())' 2>&1) && grep -q "^version[a-z_]* = $$v" "$(VENV)/pyvenv.cfg"; } || echo other))
$(if $(OTHER),$(error $(VENV) was made with another Python than PYTHON=$(PYTHON); remove it, or name a new one with VENV=))
READY   := $(VENV)/.ready
PIPE    := $(VENV)/bin/python -m robexpl.pipeline
OPTIONS  = $(if $(SEEDS),--seeds "$(SEEDS)") $(if $(JOBS),--jobs "$(JOBS)")
REPORT   = --paper $(OPTIONS) $(if $(CLUSTER),--cluster "$(CLUSTER)") $(if $(FORCE),--force)

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1\t/p' Makefile | expand -t 20
demo: $(READY)  ## everything from nothing on embedded data, to build/demo/paper.pdf: 5 minutes, offline
	@$(PIPE) report --profile demo $(REPORT)
test: $(READY)  ## unit tests, and each small notebook executed and compared on one dataset: 5 minutes, offline
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile
test-slow: $(READY)  ## the notebooks on the other dataset, a small report killed, crowded, on a cluster, out of room and damaged: 14 minutes, then the README's table of it
	ROBEXPL_TRUST=paper/trust.json $(VENV)/bin/python -m pytest -m slow
	$(PIPE) readme
test-kernels: $(READY)  ## what holds numbers, with the instructions of older processors: 7 minutes, offline
	.ci/kernels $(VENV)/bin/python
test-all: test test-slow  ## both
report: $(READY)  ## what of the full study is not current, then paper and README: hours from nothing; SEEDS=n JOBS=n FORCE=1 CLUSTER=slurm
	@$(PIPE) report --profile full $(REPORT)
notebook: $(READY)  ## one notebook, NAME=rq1 DATASET=digits, or DATASET=my.csv TARGET=column, to build/notebooks: a minute
	@$(PIPE) notebook "$(NAME)" $(if $(DATASET),--dataset "$(DATASET)") $(if $(TARGET),--target "$(TARGET)") $(if $(PROFILE),--profile "$(PROFILE)") $(OPTIONS)
current: $(READY)  ## list what of the stored notebooks, results and paper is older than the code: seconds
	@$(PIPE) current
verify: $(READY)  ## compute every full result anew from an empty cache and compare: hours; TOLERANCE=0.02
	@$(if $(SEEDS),echo "FAILED verify: expected no SEEDS: the stored results have their own" >&2; exit 1)
	$(VENV)/bin/python tests/compare.py --anew --tolerance "$(TOLERANCE)" $(OPTIONS)
golden: $(READY)  ## execute the small notebooks afresh and store them for the tests: 6 minutes
	@$(PIPE) golden $(if $(JOBS),--jobs "$(JOBS)")
	OMP_NUM_THREADS=1 $(VENV)/bin/python tests/test_tables.py
bench: $(READY)  ## measure the hot paths against their peers, and workers, to paper/generated/bench-*.csv: 12 to 16 minutes
	for part in bench scaling; do OMP_NUM_THREADS=1 $(VENV)/bin/python "tests/bench/$$part.py"; done
	$(PIPE) readme
site: $(READY)  ## front page, notebooks, paper, library and explorer as a site, to build/site: a minute, offline
	@$(PIPE) site
lint: $(READY)  ## ruff: seconds
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
lab: $(READY)  ## JupyterLab, where a double click opens a template as a notebook
	@JUPYTER_CONFIG_PATH="$$PWD/.ci/lab$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" $(VENV)/bin/python -m jupyter lab
clean:  ## remove caches, logs, the demo and other builds: a second; committed results stay
	@cd "$${ROBEXPL_BUILD:-build}" 2>/dev/null && rm -rf cache demo failed locks log notebooks scratch site torch ./*-seeds* || true
$(READY): environment.yml constraints.txt pyproject.toml .ci/setup.py
	@"$(PYTHON)" .ci/setup.py "$(VENV)"
	touch $@
