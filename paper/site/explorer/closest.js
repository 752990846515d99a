"use strict";
// The closest counterfactual of a small network with two classes, exactly: the point of the box with the least
// ||z - x||_1 at which class t is at least as likely as the other. Branch and bound over which hidden units are active,
// with a linear programme in every node.

const TINY = 1e-9;

// Minimise the sum of v >= 0 subject to rows . v + constants >= 0 by the dual simplex method, which may start at v = 0
// because all costs are positive. Bland's rule, so that it ends. Returns {value, v}, or null where nothing is feasible.
function leastSum(rows, constants) {
  const n = rows.length ? rows[0].length : 0;
  const table = rows.map((row) => Float64Array.from(row)), rest = Float64Array.from(constants);
  const cost = new Float64Array(n).fill(1);
  const outside = Array.from({ length: n }, (_, j) => j); // the variables that are zero: v, then slacks from n on
  const inside = rows.map((_, i) => n + i);
  let value = 0;
  for (;;) {
    let leaving = -1;
    for (let i = 0; i < table.length; i++) {
      if (rest[i] < -TINY && (leaving < 0 || inside[i] < inside[leaving])) leaving = i;
    }
    if (leaving < 0) break;
    const row = table[leaving];
    let entering = -1, ratio = Infinity;
    for (let j = 0; j < n; j++) {
      if (row[j] <= TINY) continue;
      const own = cost[j] / row[j];
      if (own < ratio - 1e-12 || (own < ratio + 1e-12 && outside[j] < outside[entering])) [entering, ratio] = [j, own];
    }
    if (entering < 0) return null;
    const pivot = row[entering];
    for (let j = 0; j < n; j++) row[j] = j === entering ? 1 / pivot : -row[j] / pivot;
    rest[leaving] = -rest[leaving] / pivot;
    const substitute = (line, at) => { // replace the entering variable in a line by what it equals now
      const factor = line[entering];
      if (factor === 0) return 0;
      for (let j = 0; j < n; j++) line[j] = (j === entering ? 0 : line[j]) + factor * row[j];
      return factor * at;
    };
    for (let i = 0; i < table.length; i++) if (i !== leaving) rest[i] += substitute(table[i], rest[leaving]);
    value += substitute(cost, rest[leaving]);
    [inside[leaving], outside[entering]] = [outside[entering], inside[leaving]];
  }
  const v = new Float64Array(n);
  inside.forEach((name, i) => { if (name < n) v[name] = Math.max(rest[i], 0); });
  return { value, v };
}

// Return {z, distance, nodes} of the closest counterfactual, or null where the box holds none.
function closest(net, x, target, low, high) {
  const { inputs, hidden, w1, b1, w2, b2 } = net;
  const other = 1 - target, free = [];
  for (let i = 0; i < inputs; i++) if (low[i] < high[i]) free.push(i);
  const weight = (j) => w2[target * hidden + j] - w2[other * hidden + j];
  const sum = (j, z) => z.reduce((total, value, i) => total + w1[j * inputs + i] * value, b1[j]);
  const units = Array.from({ length: hidden }, (_, j) => {
    let least = b1[j], most = b1[j];
    for (let i = 0; i < inputs; i++) {
      const ends = [w1[j * inputs + i] * low[i], w1[j * inputs + i] * high[i]];
      least += Math.min(...ends);
      most += Math.max(...ends);
    }
    return { j, weight: weight(j), least, most, at: sum(j, Array.from(x)) };
  });
  const margin = (z) => units.reduce((total, u) => total + u.weight * Math.max(sum(u.j, z), 0), b2[target] - b2[other]);
  // a linear form over z as a row over (p, q) with z = x + p - q: the coefficients of the free inputs, twice
  const line = (coefficients) => [...free.map((i) => coefficients[i]), ...free.map((i) => -coefficients[i])];
  const box = [], room = [];
  [high, low].forEach((side, k) => free.forEach((i, place) => {
    const row = new Array(2 * free.length).fill(0);
    row[k * free.length + place] = -1;
    box.push(row);
    room.push(Math.abs(side[i] - x[i]));
  }));
  let best = null, nodes = 0;

  function visit(active) { // true, false or undefined for each unit
    nodes += 1;
    const rows = [...box], constants = [...room];
    const whole = new Float64Array(inputs);
    let constant = b2[target] - b2[other];
    const include = (u, factor, at) => { // adds factor * (W1 z + b1)_j, relative to x, to the output's upper bound
      for (let i = 0; i < inputs; i++) whole[i] += factor * w1[u.j * inputs + i];
      constant += at;
    };
    for (const u of units) {
      const state = active[u.j];
      const slope = u.most / (u.most - u.least);
      if (state === true) include(u, u.weight, u.weight * u.at);
      // an undecided unit adds at most what the chord from (least, 0) to (most, most) does, and at most 0 if negative
      else if (state === undefined && u.weight > 0) include(u, u.weight * slope, u.weight * slope * (u.at - u.least));
      if (state !== undefined && u.least < 0 && u.most > 0) {
        const sign = state ? 1 : -1;
        rows.push(line(Array.from(w1.subarray(u.j * inputs, (u.j + 1) * inputs), (value) => sign * value)));
        constants.push(sign * u.at);
      }
    }
    rows.push(line(whole));
    constants.push(constant);
    const found = leastSum(rows, constants);
    if (!found || (best && found.value >= best.distance - TINY)) return;
    const z = Array.from(x);
    free.forEach((i, k) => { z[i] += found.v[k] - found.v[free.length + k]; });
    const gaps = units.filter((u) => active[u.j] === undefined).map((u) => {
      const before = sum(u.j, z), bound = u.weight > 0 ? (u.most * (before - u.least)) / (u.most - u.least) : 0;
      return { j: u.j, gap: u.weight * (bound - Math.max(before, 0)), first: before > 0 };
    });
    if (!gaps.length || margin(z) >= -1e-7) {
      best = { z, distance: found.value };
      return;
    }
    const { j, first } = gaps.reduce((a, b) => (b.gap > a.gap ? b : a));
    for (const state of [first, !first]) visit(active.with(j, state));
  }

  visit(units.map((u) => (u.least >= 0 ? true : u.most <= 0 ? false : undefined)));
  return best && { ...best, nodes };
}
