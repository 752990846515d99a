"use strict";
// Small helpers for the page, pictures on canvases, and the area to draw in.

// Make an element; attributes that are functions listen to the event of that name.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const byId = (id) => document.getElementById(id);
const fixed = (value, digits = 3) => value.toFixed(digits).replace("-", "\u2212");
const INK = [213, 94, 0], GONE = [0, 114, 178]; // told apart by colour-blind readers, too

// Make a canvas of 28 x 28 pixels that is read out as `label`.
function picture(label) {
  return element("canvas", { width: SIDE, height: SIDE, role: "img", "aria-label": label });
}

// Paint an image, 0 white and 1 black, or a change of one, added ink orange and lost ink blue.
function paint(canvas, image, change = false) {
  const context = canvas.getContext("2d"), pixels = context.createImageData(SIDE, SIDE);
  image.forEach((raw, i) => {
    const value = clamp(raw, -1, 1), colour = change ? (value > 0 ? INK : GONE) : [0, 0, 0];
    const share = change ? Math.abs(value) : Math.max(value, 0);
    colour.forEach((part, c) => { pixels.data[4 * i + c] = Math.round(255 + share * (part - 255)); });
    pixels.data[4 * i + 3] = 255;
  });
  context.putImageData(pixels, 0, 0);
}

// Move an image by whole pixels so that its centre of mass lies in the middle, as in MNIST.
function centred(image) {
  let mass = 0, across = 0, down = 0;
  image.forEach((value, i) => {
    mass += value;
    across += value * (i % SIDE);
    down += value * Math.floor(i / SIDE);
  });
  if (!mass) return image;
  const [dx, dy] = [across, down].map((sum) => Math.round(SIDE / 2 - 0.5 - sum / mass));
  return Float32Array.from(image, (_, i) => {
    const [x, y] = [(i % SIDE) - dx, Math.floor(i / SIDE) - dy];
    return x >= 0 && x < SIDE && y >= 0 && y < SIDE ? image[y * SIDE + x] : 0;
  });
}

class Pad {
  // `changed` is called with the drawing after each stroke.
  constructor(canvas, changed) {
    Object.assign(this, { canvas, changed, image: new Float32Array(SIDE * SIDE), pen: [14, 7], down: false, last: null });
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.last = at(event);
      this.stroke(this.last);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.last) return;
      for (const part of event.getCoalescedEvents?.() ?? []) this.stroke(at(part));
      this.stroke(at(event));
    });
    const lift = () => {
      if (this.last) changed(this.image);
      this.last = null;
    };
    canvas.addEventListener("pointerup", lift);
    canvas.addEventListener("pointercancel", lift);
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("focus", () => this.show());
    canvas.addEventListener("blur", () => this.show());
    this.show();
  }

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === " ") this.down = !this.down;
    else if (moves[event.key]) this.pen = this.pen.map((place, i) => clamp(place + moves[event.key][i], 0, SIDE - 1));
    else return;
    event.preventDefault();
    if (this.down) {
      this.last = null;
      this.stroke(this.pen.map((place) => place + 0.5));
      this.last = null;
      this.changed(this.image);
    }
    this.show();
  }

  // Draw a line of soft ink from the last point to this one.
  stroke(to) {
    const from = this.last ?? to, count = 1 + Math.ceil(2 * Math.hypot(to[0] - from[0], to[1] - from[1]));
    for (let k = 0; k <= count; k++) {
      const [x, y] = [0, 1].map((i) => from[i] + (k / count) * (to[i] - from[i]));
      for (let i = 0; i < this.image.length; i++) {
        const distance = Math.hypot((i % SIDE) + 0.5 - x, Math.floor(i / SIDE) + 0.5 - y);
        this.image[i] = Math.max(this.image[i], Math.round(15 * clamp(1.9 - distance, 0, 1)) / 15);
      }
    }
    this.last = to;
    this.show();
  }

  set(image) {
    this.image = Float32Array.from(image);
    this.show();
  }

  show() {
    paint(this.canvas, this.image);
    if (document.activeElement !== this.canvas) return;
    const context = this.canvas.getContext("2d");
    context.fillStyle = this.down ? "#d55e00" : "#0072b2";
    context.fillRect(...this.pen, 1, 1);
  }
}
