"use strict";
// Attacks in the maximum norm, as robexpl/attacks has them: no input changes by more than eps, and all stay in [0, 1].

const ATTACK_STEPS = 20;

// Return the sign of the gradient of the cross-entropy: with respect to the logits it is a positive number times the
// softmax over the other classes, less one for the class y itself.
function ascent(net, x, y) {
  const { logits, active } = run(net, x);
  const slope = softmax(logits, y);
  slope[y] = -1;
  return pull(net, active, slope).map(Math.sign);
}

// One step of the fast gradient sign method.
function fgsm(net, x, y, eps) {
  const sign = ascent(net, x, y);
  return Float32Array.from(x, (value, i) => clamp(value + eps * sign[i], 0, 1));
}

// Projected gradient descent from x itself, in so many steps of the given size.
function pgd(net, x, y, eps, steps = ATTACK_STEPS, size = (2.5 * eps) / steps) {
  let found = Float32Array.from(x);
  for (let step = 0; step < steps; step++) {
    const sign = ascent(net, found, y);
    found = found.map((value, i) => {
      const moved = clamp(value + size * sign[i], x[i] - eps, x[i] + eps);
      return clamp(moved, 0, 1);
    });
  }
  return found;
}

const ATTACKS = { fgsm, pgd };
