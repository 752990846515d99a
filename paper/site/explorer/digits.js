"use strict";
// Sections 1 to 3 of the page: pick or draw a digit, watch the searches, attack the networks.

const SETTINGS = ["energy", "l1", "learningRate", "steps", "noise", "proximal"];
const IMAGE_DEFAULTS = {
  digit: 13, drawing: "", target: 8, condition: "corrected", stop: "generator_conditions", at: -1, eps: 0.1,
  attack: "pgd", energy: 0, l1: 0, learningRate: 0, steps: 0, noise: 0, proximal: false,
}; // at: steps made, -1 for the end; settings are read where the condition is "own"

const bounds = (count, value) => new Float32Array(count).fill(value);
const LOW = bounds(SIDE * SIDE, 0), HIGH = bounds(SIDE * SIDE, 1);

class Digits {
  constructor(page) {
    const { about, arrays } = page, size = SIDE * SIDE;
    Object.assign(this, { page, about: about.image, state: page.state, playing: 0 });
    const images = (name) => Array.from({ length: arrays[name].length / size }, (_, i) =>
      Float32Array.from(arrays[name].subarray(i * size, (i + 1) * size), (value) => value / 255));
    this.picked = images("picked");
    this.banks = Array.from({ length: 10 }, () => []);
    images("reference").forEach((image, i) => this.banks[this.about.referenceLabels[i]].push(moments(image)));
    this.networks = this.about.networks.map((entry) => makeNetwork(entry, arrays));
    this.build();
  }

  build() {
    const { about, state } = this;
    this.picked.forEach((image, i) => {
      const canvas = element("canvas", { width: SIDE, height: SIDE, "aria-hidden": "true" });
      paint(canvas, image);
      const input = element("input", { type: "radio", name: "digit", value: i, change: () => this.pick(i) });
      const words = element("span", { class: "unseen" }, `${about.pickedLabels[i]}, picture ${1 + (i % 4)}`);
      byId("digits").append(element("label", {}, input, canvas, words));
    });
    this.pad = new Pad(byId("pad"), (image) => {
      Object.assign(state, { drawing: drawingToText(image), at: -1 });
      this.restart();
    });
    byId("clear").addEventListener("click", () => this.pick(state.digit));
    const choose = (id, name, read, more = () => {}) => byId(id).addEventListener("change", (event) => {
      state[name] = read(event.target);
      more();
      if (state.at >= 0) state.at = -1;
      this.restart();
    });
    const number = (input) => clamp(Number(input.value) || 0, Number(input.min), Number(input.max));
    choose("target", "target", number10);
    choose("stop", "stop", (input) => input.value);
    choose("condition", "condition", (input) => input.value, () => this.keepSettings());
    for (const name of SETTINGS) {
      const own = () => { state.condition = "own"; };
      choose(name, name, name === "proximal" ? (input) => input.checked : number, own);
    }
    byId("play").addEventListener("click", () => this.play());
    byId("one").addEventListener("click", () => this.oneStep());
    byId("end").addEventListener("click", () => this.runTo(-1));
    byId("again").addEventListener("click", () => this.runTo(0));
    byId("eps").addEventListener("input", (event) => {
      state.eps = Number(event.target.value);
      this.showAttacks();
    });
    choose("attacker", "attack", (input) => input.value);
    byId("chaos").addEventListener("click", () => this.measureChaos());
    this.cards = this.networks.map((net) => this.card(net, byId("searches"), ["counterfactual", "change", "nearest picture"]));
    this.attackCards = this.networks.map((net) => this.card(net, byId("attacks"), ["attacked picture", "change"]));
  }

  card(net, parent, pictures) {
    const canvases = pictures.map((label) => picture(`${net.title} network, ${label}`));
    const shown = canvases.map((canvas, i) => element("figure", {}, canvas, element("figcaption", {}, pictures[i])));
    const scale = element("div", { class: "scale", "aria-hidden": "true" }), words = element("dl");
    const title = element("h3", {}, `${net.title} network`);
    parent.append(element("article", { class: net.name }, title, element("div", { class: "pictures" }, ...shown), scale, words));
    return { canvases, scale, words };
  }

  // The settings of the search: those of the condition, or the reader's own.
  how() {
    const { state } = this, { conditions } = this.page.about;
    const known = conditions.find((each) => each.name === state.condition);
    const own = Object.fromEntries(SETTINGS.map((name) => [name, state[name]]));
    const chosen = known ? known.image : { ...conditions.at(-1).image, ...own };
    return { ...chosen, stop: state.stop };
  }

  // Copy the settings of a chosen condition, so that a change of one of them starts from there.
  keepSettings() {
    const how = this.how();
    for (const name of SETTINGS) this.state[name] = how[name];
  }

  // Replace what an address may say and the page does not offer.
  tidy() {
    const { state, picked } = this, ids = { attack: "attacker" };
    state.digit = clamp(Math.round(state.digit), 0, picked.length - 1);
    for (const name of ["target", "stop", "condition", "attack", "eps", ...SETTINGS]) {
      const input = byId(ids[name] ?? name), value = state[name];
      if (input.options) {
        const offered = [...input.options].some((option) => option.value === String(value));
        if (!offered) state[name] = IMAGE_DEFAULTS[name];
      } else if (input.type !== "checkbox" && !(state.condition !== "own" && SETTINGS.includes(name))) {
        state[name] = clamp(value, Number(input.min), Number(input.max));
      }
    }
  }

  pick(index) {
    Object.assign(this.state, { digit: index, drawing: "", at: -1 });
    this.pad.set(LOW);
    this.restart();
  }

  // Show the choices, start all searches anew and bring them to where the state says.
  restart() {
    const { state, about, picked } = this;
    this.tidy();
    const drawing = textToDrawing(state.drawing);
    if (!drawing) state.drawing = "";
    if (state.condition !== "own") this.keepSettings();
    if (drawing) this.pad.set(drawing);
    this.factual = drawing ? centred(drawing) : picked[state.digit];
    this.label = drawing ? null : about.pickedLabels[state.digit];
    for (const input of byId("digits").querySelectorAll("input")) {
      input.checked = !drawing && Number(input.value) === state.digit;
    }
    for (const name of ["target", "stop", "condition", ...SETTINGS]) {
      const input = byId(name), value = state[name];
      if (input.type === "checkbox") input.checked = value;
      else input.value = String(value);
    }
    byId("attacker").value = state.attack;
    byId("eps").value = String(state.eps);
    this.showPoints();
    this.runTo(state.at);
    this.showAttacks();
  }

  newSearches(disturbed = 0) {
    const { state, factual } = this, how = this.how();
    const start = noisy(factual, how.noise);
    const moved = disturbed ? Float32Array.from(start, (value) => value + disturbed) : start;
    return this.networks.map((net) => new Search(net, factual, state.target, how, LOW, HIGH, moved));
  }

  get step() {
    return Math.max(...this.searches.map((search) => search.step));
  }

  get ended() {
    return this.searches.every((search) => search.ended);
  }

  // Bring the searches to a step from the start, -1 for the end, without holding up the page.
  async runTo(at) {
    const run = ++this.playing;
    byId("play").textContent = "Play from the start";
    this.searches = this.newSearches();
    byId("told").textContent = "";
    while (!this.ended && (at < 0 || this.step < at)) {
      const until = performance.now() + 25;
      while (performance.now() < until && !this.ended && (at < 0 || this.step < at)) this.advance(1);
      byId("progress").textContent = `Searching, step ${this.step.toLocaleString("en")} …`; // seen, not read out
      await new Promise((next) => setTimeout(next));
      if (run !== this.playing) return;
    }
    byId("progress").textContent = "";
    this.state.at = at;
    this.show(true);
  }

  advance(count) {
    for (const search of this.searches) search.advance(count);
  }

  oneStep() {
    if (this.ended) this.searches = this.newSearches();
    this.playing++;
    byId("play").textContent = "Play from the start";
    this.advance(1);
    this.state.at = this.step;
    this.show(true);
  }

  play() {
    const run = ++this.playing, button = byId("play");
    if (button.textContent === "Pause") {
      button.textContent = "Go on";
      this.state.at = this.step;
      return this.show(true);
    }
    if (button.textContent !== "Go on" || this.ended) this.searches = this.newSearches();
    button.textContent = "Pause";
    byId("told").textContent = "Playing.";
    const frame = () => {
      if (run !== this.playing) return;
      this.advance(Number(byId("speed").value));
      this.show(this.ended);
      if (!this.ended) return requestAnimationFrame(frame);
      button.textContent = "Play from the start";
      this.state.at = -1;
      this.page.save();
    };
    requestAnimationFrame(frame);
  }

  // Paint every search; `tell` also says it in words and keeps it in the address.
  show(tell) {
    const { state, factual, about } = this, target = state.target, bank = this.banks[target];
    const lines = this.searches.map((search, i) => {
      const { canvases, scale, words } = this.cards[i], { title } = this.networks[i];
      const { score, nearest: place } = imageScore(search.z, bank, about.k);
      paint(canvases[0], search.z);
      paint(canvases[1], search.z.map((value, k) => value - factual[k]), true);
      paint(canvases[2], bank[place].image);
      const reads = search.probabilities.indexOf(Math.max(...search.probabilities));
      const phase = search.converged ? "ended" : search.ended ? "out of steps" : "searching";
      fill(words, {
        reads: String(reads), [`probability of ${target}`]: fixed(search.probability), implausibility: fixed(score),
        steps: `${search.step.toLocaleString("en")}, ${phase}`,
      });
      scale.replaceChildren(this.scaleOf(score));
      return `${title}: ${fixed(search.probability, 2)} and ${fixed(score)}`;
    });
    if (!tell) return;
    const from = this.label === null ? "drawing" : this.label;
    byId("told").textContent =
      `From ${from} to ${target}, step ${this.step.toLocaleString("en")}. Probability of ${target} and implausibility: ${lines.join("; ")}.`;
    this.page.save();
  }

  // A line from 0 to 0.5 with the reference points and the score on it.
  scaleOf(score) {
    const marks = (this.points ?? []).map(({ mark, value }) => [mark, value]);
    return element("div", {}, ...[...marks, ["own", score]].map(([mark, value]) =>
      element("i", { class: mark, style: `left:${clamp(200 * value, 0, 100)}%` })));
  }

  // Score pictures that everybody can judge against the same reference.
  showPoints() {
    const { state, factual, about } = this, bank = this.banks[state.target], how = this.how();
    const scored = (image) => imageScore(image, bank, about.k).score;
    const real = bank.map(({ image }, i) => imageScore(image, bank.filter((_, j) => j !== i), about.k).score);
    this.points = [
      { mark: "real", words: `real training pictures of ${state.target}, each against the others, mean`, value: mean(real) },
      { mark: "start", words: "the picture that the search starts from", value: scored(noisy(factual, how.noise)) },
      { mark: "blank", words: "a blank picture", value: scored(LOW) },
    ];
    byId("points").tBodies[0].replaceChildren(...this.points.map(({ mark, words, value }) => element("tr", {},
      element("td", {}, element("i", { class: mark })), element("th", { scope: "row" }, words), element("td", {}, fixed(value)))));
  }

  showAttacks() {
    const { state, factual } = this, attack = ATTACKS[state.attack] ?? pgd;
    byId("eps-value").textContent = fixed(state.eps, 2);
    this.networks.forEach((net, i) => {
      const { canvases, words } = this.attackCards[i];
      const before = classify(net, factual), label = this.label ?? before.label;
      const found = attack(net, factual, label, state.eps), after = classify(net, found);
      paint(canvases[0], found);
      paint(canvases[1], found.map((value, k) => value - factual[k]), true);
      fill(words, {
        "reads before": `${before.label} (${fixed(before.probabilities[before.label], 2)})`,
        "reads now": `${after.label} (${fixed(after.probabilities[after.label], 2)})`,
        result: after.label === label ? "withstands it" : "is misled",
      });
    });
    this.page.save();
    this.countShares();
  }

  // Count how many of the page's pictures each network reads correctly, a few at a time.
  async countShares() {
    const { state, picked, about, networks } = this, run = (this.counting = (this.counting ?? 0) + 1);
    const table = byId("shares"), cells = networks.map(() => [0, 0, 0]);
    await new Promise((next) => setTimeout(next, 200));
    for (const [n, image] of picked.entries()) {
      if (run !== this.counting) return;
      const label = about.pickedLabels[n], right = (net, x) => Number(classify(net, x).label === label);
      networks.forEach((net, i) => {
        cells[i][0] += right(net, image);
        cells[i][1] += right(net, fgsm(net, image, label, state.eps));
        cells[i][2] += right(net, pgd(net, image, label, state.eps));
      });
      if (n % 4 === 3) await new Promise((next) => setTimeout(next));
    }
    table.caption.textContent = `Pictures read correctly, of the ${picked.length} to pick from, at ε = ${fixed(state.eps, 2)}`;
    table.tBodies[0].replaceChildren(...networks.map((net, i) => element("tr", {},
      element("th", { scope: "row" }, net.title), ...cells[i].map((count) => element("td", {}, String(count))))));
  }

  // Run all searches twice from almost the same start, and say how far apart they end.
  async measureChaos() {
    const told = byId("chaos-told"), pair = [this.newSearches(), this.newSearches(1e-6)], lines = [];
    for (const [i, net] of this.networks.entries()) {
      told.textContent = `Searching in the ${net.title.toLowerCase()} network …`;
      await new Promise((next) => setTimeout(next));
      const [one, two] = pair.map((searches) => searches[i]);
      const apart = (step) => {
        one.advance(step - one.step);
        two.advance(step - two.step);
        return Math.max(...one.z.map((value, k) => Math.abs(value - two.z[k])));
      };
      const last = this.how().steps, early = apart(Math.min(100, last));
      lines.push(`${net.title} ${early.toExponential(0)} and ${apart(last).toExponential(0)}`);
    }
    told.textContent = `Largest difference of a pixel after 100 steps and at the end: ${lines.join("; ")}.`;
  }
}

const number10 = (input) => Number(input.value) % 10;
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// Fill a list of terms and what they are.
function fill(list, entries) {
  list.replaceChildren(...Object.entries(entries).map(([term, value]) =>
    element("div", {}, element("dt", {}, term), element("dd", {}, value))));
}
