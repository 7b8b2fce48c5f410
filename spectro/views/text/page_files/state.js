// What is shown: the bands, the scale, the colours. The address says it, so that a view can be linked.
import { byId } from "./dom.js";

export const DATA = JSON.parse(byId("data").textContent);
export const NONE = -1;
export const state = { bands: [], scale: DATA.scale, colours: DATA.colours };
const listeners = [];
export const onChange = (listener) => listeners.push(listener);

export function change(update) {
  Object.assign(state, update);
  tellAddress();
  for (const listener of listeners) listener();
}

export const shownBands = () => state.bands.filter((column) => column !== NONE);

export function startState() {
  state.bands = Array.from({ length: Math.min(DATA.maxBands, DATA.components.length) }, (_, band) => DATA.shown[band] ?? NONE);
  followAddress();
}

// Only names that the page knows are taken from an address.
export function followAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (asked.has("bands")) {
    const columns = asked.get("bands").split(",").map((name) => DATA.components.indexOf(name)).filter((column) => column !== NONE);
    state.bands = state.bands.map((_, band) => columns[band] ?? NONE);
  }
  if (DATA.scales.includes(asked.get("scale"))) state.scale = asked.get("scale");
  if (Object.hasOwn(DATA.words, asked.get("colours"))) state.colours = asked.get("colours");
}

function tellAddress() {
  const bands = shownBands().map((column) => DATA.components[column]).join(",");
  history.replaceState(null, "", `#bands=${bands}&scale=${state.scale}&colours=${state.colours}`);
}

export const rawOf = (column, token) => {
  const steps = DATA.values[column][token];
  return steps === null ? null : steps * DATA.step[column];
};

// χ on a scale, as views/text/scales.py has it; null where nothing can be said.
export function valueOn(scale, column, token) {
  const raw = rawOf(column, token), deviation = DATA.deviation[column];
  if (raw === null || scale === "raw") return raw;
  if (deviation === null) return null;
  const standard = (raw - DATA.mean[column]) / deviation;
  if (scale === "standardised") return standard;
  return DATA.rowMean[token] === null ? null : standard - DATA.rowMean[token];
}

export const valueOf = (column, token) => valueOn(state.scale, column, token);
export const limitOf = (column) => DATA.limits[state.scale][column];

// Colour of a value: grey at zero, at its strongest from the limit on; none where nothing is known.
export function colourOf(value, limit) {
  if (value === null) return "transparent";
  const share = Math.round(100 * Math.min(1, Math.abs(value) / limit));
  return `color-mix(in oklab, var(${value < 0 ? "--below" : "--above"}) ${share}%, var(--band-zero))`;
}
