"use strict";
// Perceptrons with one hidden layer, f(x) = W2 relu(W1 x + b1) + b2, and their gradients. Numbers are kept in single
// precision, as torch keeps them, and sums are formed in double precision.

// Unpack the arrays that the page carries: a zlib stream in base64, and where in it each array lies.
async function unpack(text, index) {
  const packed = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = await new Response(stream).arrayBuffer();
  const kinds = { int8: Int8Array, uint8: Uint8Array, float32: Float32Array };
  return Object.fromEntries(
    Object.entries(index).map(([name, [kind, from, count]]) => [name, new kinds[kind](bytes, from, count)]),
  );
}

// Make a network from its entry; weights in eight bits are multiples of one number for each hidden unit.
function makeNetwork(entry, arrays) {
  const [inputs, hidden, outputs] = entry.sizes;
  const part = (name) => arrays[`${entry.key}/${name}`];
  const w1 = Float32Array.from(part("w1")), columns = new Float32Array(w1.length);
  for (let j = 0; j < hidden; j++) {
    for (let i = 0; i < inputs; i++) {
      if (part("scale")) w1[j * inputs + i] *= part("scale")[j];
      columns[i * hidden + j] = w1[j * inputs + i]; // a row for each input, for `run`
    }
  }
  return { ...entry, inputs, hidden, outputs, w1, columns, b1: part("b1"), w2: part("w2"), b2: part("b2") };
}

// Add to `sums` the rows of a matrix, each times its factor; factors of zero cost nothing, and four rows go together.
function addRows(sums, matrix, factors) {
  const width = sums.length, from = [], by = [];
  for (let i = 0; i < factors.length; i++) {
    if (factors[i] === 0) continue;
    from.push(i * width);
    by.push(factors[i]);
  }
  while (from.length % 4) {
    from.push(0);
    by.push(0);
  }
  for (let k = 0; k < from.length; k += 4) {
    const a = from[k], b = from[k + 1], c = from[k + 2], d = from[k + 3];
    const p = by[k], q = by[k + 1], r = by[k + 2], s = by[k + 3];
    for (let i = 0; i < width; i++) {
      sums[i] += p * matrix[a + i] + q * matrix[b + i] + r * matrix[c + i] + s * matrix[d + i];
    }
  }
  return sums;
}

// Return the logits of x and the activations of the hidden units, which `pull` needs.
function run(net, x) {
  const { hidden, outputs, columns, b1, w2, b2 } = net;
  const active = new Float32Array(addRows(new Float64Array(b1), columns, x)), logits = new Float32Array(outputs);
  for (let j = 0; j < hidden; j++) if (active[j] < 0) active[j] = 0;
  for (let c = 0; c < outputs; c++) {
    let sum = b2[c];
    for (let j = 0; j < hidden; j++) sum += w2[c * hidden + j] * active[j];
    logits[c] = sum;
  }
  return { logits, active };
}

// Return the gradient with respect to x of the sum of slope_c f_c(x).
function pull(net, active, slope) {
  const { inputs, hidden, outputs, w1, w2 } = net;
  const weights = new Float64Array(hidden);
  for (let j = 0; j < hidden; j++) {
    if (!(active[j] > 0)) continue;
    for (let c = 0; c < outputs; c++) weights[j] += slope[c] * w2[c * hidden + j];
  }
  return addRows(new Float64Array(inputs), w1, weights);
}

// Return the softmax of the logits, with one class left out where its number is given.
function softmax(logits, without = -1) {
  let most = -Infinity;
  logits.forEach((value, c) => { if (c !== without && value > most) most = value; });
  const powers = Float64Array.from(logits, (value, c) => (c === without ? 0 : Math.exp(value - most)));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((value) => value / sum);
}

// Return the likeliest class of x and the probabilities of all.
function classify(net, x) {
  const probabilities = softmax(run(net, x).logits);
  return { label: probabilities.indexOf(Math.max(...probabilities)), probabilities };
}
