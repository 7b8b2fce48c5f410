// The switches and the key.
import { byId, element, fixed } from "./dom.js";
import { DATA, NONE, change, limitOf, shownBands, state } from "./state.js";
import { short } from "./tip.js";

function option(value, label, chosen) {
  const node = element("option", "", label);
  node.value = value;
  node.selected = chosen;
  return node;
}

export function drawPickers() {
  byId("pickers").replaceChildren(...state.bands.map((chosen, band) => {
    const picker = element("select", "", option(NONE, "none", chosen === NONE),
      ...DATA.components.map((name, column) => option(column, name, column === chosen)));
    picker.id = `band-${band + 1}`;
    picker.addEventListener("change", () => {
      const bands = [...state.bands];
      bands[band] = Number(picker.value);
      change({ bands });
    });
    return element("label", "picker", `band ${band + 1} `, picker);
  }));
}

const SCALES = { standardised: "standardised over the run", centred: "standardised and row-centred", raw: "raw, nats²" };

export function drawChoices() {
  byId("scale").replaceChildren(...DATA.scales.map((name) => option(name, SCALES[name], name === state.scale)));
  byId("colours").replaceChildren(...Object.entries(DATA.words).map(([name, words]) => option(name, words.join(" / "), name === state.colours)));
  byId("scale").addEventListener("change", (event) => change({ scale: event.target.value }));
  byId("colours").addEventListener("change", (event) => change({ colours: event.target.value }));
}

export function drawHelp() {
  const [above, below] = DATA.words[state.colours];
  byId("help").textContent =
    `Under each token is one band per component: ${above} where χ, on the scale chosen, is above zero (suppression: the component works against this token ` +
    `in its context), ${below} where it is below (expression: it supports it), the stronger the further; hover over a token, or go to it ` +
    "with the arrow keys, for its numbers.";
}

const NOTES = {
  standardised: "χ less its mean, by its deviation, both over the run. All components share most of it (the uniform mode), so that bands look alike.",
  centred: "Standardised χ less the mean of all components: what this one does that the others do not.",
  raw: "χ as it was measured, nats²: to be compared within a band, not between bands.",
};

function ramp(limit) {
  const bound = state.scale === "raw" ? short(limit) : limit.toFixed(limit < 1 ? 2 : 1);
  return element("span", "ramp", `−${bound}`, element("i", ""), `+${bound}`);
}

export function drawKey() {
  byId("key").replaceChildren(...shownBands().map((column, band) => {
    const reliability = DATA.reliability[column];
    return element("div", "band-key", element("span", "number", String(band + 1)), element("b", "", DATA.components[column]),
      ramp(limitOf(column)), element("span", "", reliability === null ? "reliability not known" : `reliability ${fixed(reliability, 2)}`));
  }), element("p", "scale-note", NOTES[state.scale]));
}

export function drawFacts() {
  byId("facts").append(...DATA.facts.map(([name, value]) => element("div", "", element("dt", "", name), element("dd", "", value))));
}
