"use strict";
// Section 4 of the page: a district in the units of its source, ECCo's counterfactual and the exact closest one.

class Houses {
  constructor(page) {
    const { about, arrays } = page;
    Object.assign(this, { page, about: about.tabular, state: page.state, ...this.scalesOf(arrays) });
    this.networks = this.about.networks.map((entry) => makeNetwork(entry, arrays));
    const count = this.about.features.length;
    this.banks = this.about.referenceLabels && [0, 1].map((label) => this.about.referenceLabels.flatMap((known, i) =>
      (known === label ? [arrays.districts.subarray(i * count, (i + 1) * count)] : [])));
    this.build();
  }

  static defaults(about) {
    const { row, label } = about.tabular.examples[0];
    return { house: [...row], kept: 0, verdict: label === 1 ? 0 : 1, houseCondition: "corrected", houseStop: "decision_threshold" };
  }

  scalesOf({ mean, sd, low, high }) {
    return { mean, sd, low, high };
  }

  build() {
    const { about, state } = this, after = () => this.restart();
    about.examples.forEach(({ label }, i) => {
      const words = label === null ? "the mean of all districts" : `test district ${i + 1}, ${about.classes[label]} and read so by all networks`;
      byId("example").append(element("option", { value: i }, words));
    });
    byId("example").append(element("option", { value: -1 }, "values of your own"));
    byId("example").addEventListener("change", (event) => {
      const chosen = about.examples[Number(event.target.value)];
      if (chosen) state.house = [...chosen.row];
      if (chosen && chosen.label !== null) state.verdict = 1 - chosen.label;
      after();
    });
    const choose = (id, name, read = (text) => text) => byId(id).addEventListener("change", (event) => {
      state[name] = read(event.target.value);
      after();
    });
    choose("verdict", "verdict", Number);
    choose("house-condition", "houseCondition");
    choose("house-stop", "houseStop");
    this.inputs = about.features.map(({ name, unit, step }, i) => {
      const ends = [this.low[i], this.high[i]].map((value) => this.original(value, i));
      const value = element("input", { type: "number", step: "any", min: floor(ends[0], step), max: ceiling(ends[1], step) });
      const kept = element("input", { type: "checkbox" });
      value.addEventListener("change", () => {
        state.house[i] = clamp(Number(value.value) || 0, ends[0], ends[1]);
        after();
      });
      kept.addEventListener("change", () => {
        state.kept = kept.checked ? state.kept | (1 << i) : state.kept & ~(1 << i);
        after();
      });
      const words = unit ? `${name}, ${unit}` : name;
      byId("house").querySelector("fieldset").append(element("div", {}, element("label", {}, words, value),
        element("label", { class: "check" }, kept, "may not change", element("span", { class: "unseen" }, `: ${name}`))));
      return { value, kept };
    });
    this.tables = this.networks.map((net) => {
      const head = ["feature", "now", "search", "closest"].map((words) => element("th", { scope: "col" }, words));
      const table = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody"));
      byId("houses").append(element("article", { class: net.name }, element("h3", {}, `${net.title} network`), table));
      return table.tBodies[0];
    });
  }

  original(value, i) {
    return value * this.sd[i] + this.mean[i];
  }

  // Show the choices, search, and compare with the exact answer.
  restart() {
    const { about, state } = this, target = state.verdict ? 1 : 0;
    state.house = state.house.map((value, i) => {
      const inside = clamp(value, this.original(this.low[i], i), this.original(this.high[i], i));
      return Math.abs(inside - value) < 1e-4 * this.sd[i] ? value : inside; // bounds are rounded to single precision
    });
    const x = Float32Array.from(state.house, (value, i) =>
      clamp((value - this.mean[i]) / this.sd[i], this.low[i], this.high[i]));
    const kept = about.features.map((_, i) => Boolean(state.kept & (1 << i)));
    const [low, high] = [this.low, this.high].map((side) => side.map((value, i) => (kept[i] ? x[i] : value)));
    this.inputs.forEach((input, i) => {
      input.value.value = String(Number(state.house[i].toFixed(decimals(about.features[i].step) + 1)));
      input.kept.checked = kept[i];
    });
    const same = about.examples.findIndex(({ row }) => row.every((value, i) => value === state.house[i]));
    byId("example").value = String(same);
    byId("verdict").value = String(target);
    byId("house-condition").value = state.houseCondition;
    byId("house-stop").value = state.houseStop;
    const { conditions } = this.page.about;
    const condition = conditions.find((each) => each.name === state.houseCondition) ?? conditions.at(-1);
    const how = { ...condition.tabular, stop: state.houseStop };
    const told = this.networks.map((net, n) => {
      const search = new Search(net, x, target, how, low, high, noisy(x, how.noise)).advance(how.steps);
      const exact = closest(net, x, target, low, high);
      const points = [x, search.z, exact?.z];
      this.fillTable(this.tables[n], net, points, target);
      if (classify(net, x).label === target) return `${net.title} reads it so already`;
      if (!exact) return `${net.title}: impossible with these features kept`;
      return `${net.title}: search ${fixed(length(search.z, x), 2)}, closest ${fixed(exact.distance, 2)}`;
    });
    byId("house-told").textContent = `Sum of changes, in standard deviations. ${told.join("; ")}.`;
    this.page.save();
  }

  fillTable(body, net, points, target) {
    const { about, banks } = this, x = points[0];
    const line = (words, ...values) => element("tr", {}, element("th", { scope: "row" }, words), ...values.map((value) =>
      (value instanceof Node ? value : element("td", {}, value))));
    const rows = about.features.map(({ name, step }, i) => line(name, ...points.map((point) => {
      if (!point) return "none";
      const text = fixed(this.original(point[i], i), decimals(step));
      return element("td", Math.abs(point[i] - x[i]) > 1e-6 ? { class: "changed" } : {}, text);
    })));
    const each = (of) => points.map((point) => (point ? of(point) : ""));
    rows.push(line("probability as asked", ...each((point) => fixed(classify(net, point).probabilities[target]))));
    rows.push(line("sum of changes", ...each((point) => fixed(length(point, x), 2))));
    if (banks) rows.push(line("implausibility", ...each((point) => fixed(rowScore(point, banks[target], about.k).score, 2))));
    body.replaceChildren(...rows);
  }
}

const decimals = (step) => Math.max(0, Math.round(-Math.log10(step)));
const floor = (value, step) => (Math.floor(value / step) * step).toFixed(decimals(step));
const ceiling = (value, step) => (Math.ceil(value / step) * step).toFixed(decimals(step));
const length = (z, x) => x.reduce((sum, value, i) => sum + Math.abs(z[i] - value), 0);
