"use strict";
// What the reader chose, as it stands in the address after #: only what differs from the defaults.

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

// Write a drawing of sixteen greys as text: after each grey below 15 or above, how often it stands there.
function drawingToText(image) {
  let text = "", i = 0;
  while (i < image.length) {
    const grey = Math.round(image[i] * 15);
    let count = 1;
    while (count < 64 && i + count < image.length && Math.round(image[i + count] * 15) === grey) count++;
    text += LETTERS[grey] + LETTERS[count - 1];
    i += count;
  }
  return text;
}

// Read such a text; null where it is none.
function textToDrawing(text) {
  const image = new Float32Array(SIDE * SIDE);
  let i = 0;
  for (let k = 0; k + 1 < text.length; k += 2) {
    const [grey, count] = [LETTERS.indexOf(text[k]), LETTERS.indexOf(text[k + 1]) + 1];
    if (grey < 0 || grey > 15 || count < 1) return null;
    image.fill(grey / 15, i, i + count);
    i += count;
  }
  return i === image.length ? image : null;
}

// Return the defaults with what the address says; what it says wrongly is left out.
function readState(defaults) {
  const said = new URLSearchParams(location.hash.slice(1)), state = structuredClone(defaults);
  for (const [name, usual] of Object.entries(defaults)) {
    if (!said.has(name)) continue;
    const text = said.get(name);
    if (Array.isArray(usual)) {
      const numbers = text.split(",").map(Number);
      if (numbers.length === usual.length && numbers.every(Number.isFinite)) state[name] = numbers;
    } else if (typeof usual === "number") {
      if (text !== "" && Number.isFinite(Number(text))) state[name] = Number(text);
    } else state[name] = typeof usual === "boolean" ? text === "1" : text;
  }
  return state;
}

// Put what differs from the defaults into the address.
function writeState(state, defaults) {
  const said = new URLSearchParams();
  for (const [name, usual] of Object.entries(defaults)) {
    if (String(state[name]) === String(usual)) continue;
    said.set(name, typeof usual === "boolean" ? String(Number(state[name])) : String(state[name]));
  }
  const text = said.toString().replaceAll("%2C", ",");
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}
