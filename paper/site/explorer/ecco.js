"use strict";
// The search for counterfactuals as robexpl/generators/ecco.py has it: gradient descent on
// CE(f(z), t) + l1 ||z - x||_1 + energy (-f_t(z) + reg f_t(z)^2), inside the box between `low` and `high`.

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// Return a standard normal number from a generator of uniform ones.
function normal(uniform) {
  return Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

// Return a generator of uniform numbers in [0, 1) that the same seed always starts alike (mulberry32).
function uniformFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

class Search {
  // x is the factual; settings as in robexpl's Settings, with the stopping criterion `stop`; low and high are arrays.
  constructor(net, x, target, settings, low, high, start = x) {
    Object.assign(this, { net, target, low, high, how: settings });
    this.x = Float32Array.from(x);
    this.z = Float32Array.from(start);
    this.step = 0;
    this.look();
  }

  // Evaluate the present point: is the stopping criterion met, and where does the next step lead?
  look() {
    const { net, x, z, target, how } = this;
    const { logits, active } = run(net, z);
    const probabilities = softmax(logits);
    const slope = Float64Array.from(probabilities);
    slope[target] = 0;
    const others = slope.reduce((a, b) => a + b, 0); // 1 - p_t, exact where p_t rounds to 1
    slope[target] = how.energy * (2 * how.reg * logits[target] - 1) - others;
    const gradient = pull(net, active, slope);
    const moved = new Float32Array(z.length), rate = Math.fround(how.learningRate), l1 = Math.fround(how.l1);
    let component = 0;
    for (let i = 0; i < z.length; i++) {
      if (how.proximal) { // soft threshold sign(u) max(|u| - a, 0)
        const gap = z[i] - rate * gradient[i] - x[i];
        const kept = Math.sign(gap) * Math.max(Math.abs(gap) - rate * l1, 0);
        moved[i] = clamp(kept + x[i], this.low[i], this.high[i]);
        component = Math.max(component, Math.abs(z[i] - moved[i]) / rate);
      } else {
        const whole = Math.fround(Math.fround(gradient[i]) + l1 * Math.sign(z[i] - x[i]));
        moved[i] = clamp(z[i] - rate * whole, this.low[i], this.high[i]);
        component = Math.max(component, Math.abs(whole));
      }
    }
    Object.assign(this, { moved, component, probabilities, probability: probabilities[target] });
    this.converged = this.probability >= how.threshold;
    if (how.stop === "generator_conditions") this.converged &&= component < how.tolerance;
    this.ended = this.converged || this.step >= how.steps;
  }

  // Make up to `count` steps.
  advance(count = 1) {
    for (let i = 0; i < count && !this.ended; i++) {
      this.z = this.moved;
      this.step += 1;
      this.look();
    }
    return this;
  }
}

// Return the factual with normal noise of the given standard deviation, the same for the same seed.
function noisy(x, deviation, seed = 0) {
  const uniform = uniformFrom(seed);
  return deviation > 0 ? Float32Array.from(x, (value) => value + deviation * normal(uniform)) : x;
}
