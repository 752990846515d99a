"use strict";
// Implausibility: the mean distance to the k nearest reference points of the target class. The distance of images is
// (1 - SSIM) / 2, as in robexpl/metrics/ssim.py; that of districts is Euclidean.

const SIDE = 28, RADIUS = 5, C1 = 0.01 ** 2, C2 = 0.03 ** 2;
const WINDOW = Array.from({ length: 2 * RADIUS + 1 }, (_, t) => Math.exp(-0.5 * ((t - RADIUS) / 1.5) ** 2));
const TAPS = WINDOW.map((value) => value / WINDOW.reduce((a, b) => a + b, 0));
const PLACES = Array.from({ length: SIDE + 2 * RADIUS }, (_, i) => { // borders mirrored: b a | a b c
  const place = (i - RADIUS + 2 * SIDE) % (2 * SIDE);
  return Math.min(place, 2 * SIDE - 1 - place);
});

// Filter an image by the Gaussian window, along its rows and then along its columns.
function blur(image) {
  const rows = new Float64Array(SIDE * SIDE), result = new Float64Array(SIDE * SIDE);
  for (let r = 0; r < SIDE; r++) {
    for (let c = 0; c < SIDE; c++) {
      for (let t = 0; t <= 2 * RADIUS; t++) rows[r * SIDE + c] += TAPS[t] * image[r * SIDE + PLACES[c + t]];
    }
  }
  for (let r = 0; r < SIDE; r++) {
    for (let t = 0; t <= 2 * RADIUS; t++) {
      const from = PLACES[r + t] * SIDE;
      for (let c = 0; c < SIDE; c++) result[r * SIDE + c] += TAPS[t] * rows[from + c];
    }
  }
  return result;
}

// Compute what SSIM needs of one image alone.
function moments(image) {
  const mean = blur(image), square = blur(Float64Array.from(image, (value) => value * value));
  return { image, mean, variance: square.map((value, i) => Math.max(value - mean[i] ** 2, 0)) };
}

// Return the structural similarity of two images, given their moments.
function ssim(a, b) {
  const product = blur(Float64Array.from(a.image, (value, i) => value * b.image[i]));
  let sum = 0;
  for (let i = 0; i < product.length; i++) {
    const [m, n] = [a.mean[i], b.mean[i]];
    const top = (2 * m * n + C1) * (2 * (product[i] - m * n) + C2);
    sum += top / ((m * m + n * n + C1) * (a.variance[i] + b.variance[i] + C2));
  }
  return Math.min(sum / product.length, 1);
}

// Score an image against the moments of reference images: the mean of the k least distances, and the nearest image.
function imageScore(image, bank, k) {
  const own = moments(image);
  return nearest(bank.map((other) => (1 - ssim(own, other)) / 2), k);
}

// Score a row of numbers against reference rows.
function rowScore(row, bank, k) {
  return nearest(bank.map((other) => Math.hypot(...other.map((value, i) => value - row[i]))), k);
}

function nearest(distances, k) {
  const order = distances.map((_, i) => i).sort((a, b) => distances[a] - distances[b]);
  const few = order.slice(0, k);
  return { score: few.reduce((sum, i) => sum + distances[i], 0) / few.length, nearest: order[0] };
}
