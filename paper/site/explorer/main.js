"use strict";
// Unpack what the page carries, read the address, and start the sections.

async function start() {
  const about = JSON.parse(byId("about").textContent);
  const arrays = await unpack(byId("arrays").textContent, about.index);
  const defaults = { ...IMAGE_DEFAULTS, ...Houses.defaults(about) };
  const page = { about, arrays, state: readState(defaults) };
  page.save = () => { // settings that follow from the condition need not stand in the address
    const own = page.state.condition === "own" ? [] : SETTINGS;
    writeState(page.state, { ...defaults, ...Object.fromEntries(own.map((name) => [name, page.state[name]])) });
  };
  page.digits = new Digits(page);
  page.houses = new Houses(page);
  page.houses.restart();
  page.digits.restart();
  window.addEventListener("hashchange", () => {
    Object.assign(page.state, readState(defaults));
    page.houses.restart();
    page.digits.restart();
  });
  return page;
}

const started = start().catch((error) => {
  byId("failure").hidden = false;
  byId("failure").textContent = `This page cannot run here: ${error.message}. It needs a browser of 2023 or later.`;
  throw error;
});
