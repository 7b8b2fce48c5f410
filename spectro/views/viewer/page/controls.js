// What is drawn and how: colour, subsets, ranges, region; the legend is the filter.
import { MODES, meaning } from "./colours.js";
import { button, byId, element, integer } from "./dom.js";
import { swatch } from "./marks.js";
import { model, onModel } from "./model.js";
import { range } from "./address.js";
import { ANY, change, onChange, START, state, touches } from "./state.js";
import { shorten } from "./text.js";

const RANGES = [["size", "size", "1"], ["conductance", "conductance", "any"], ["stability", "stability", "any"]];

function option(value, text) {
  const node = element("option", "", text);
  node.value = value;
  return node;
}

function colourChoice(world) {
  const choice = byId("colour");
  choice.append(...Object.entries(MODES).filter(([mode]) => mode !== "region" || world.regions.length).map(([mode, name]) => option(mode, name)));
  choice.addEventListener("change", () => change({ colour: choice.value }));
  return () => { choice.value = state.colour; byId("meaning").textContent = meaning(world, state.colour); byId("ramp").hidden = !["conductance", "stability"].includes(state.colour); };
}

function checkbox(name, mark, isChecked, onToggle) {
  const box = element("input", ""), count = element("span", "count", "");
  box.type = "checkbox";
  box.checked = isChecked();
  box.addEventListener("change", () => onToggle(box.checked));
  const node = element("li", "", element("label", "", box, mark, element("span", "name", name), count));
  return { node, update: (number) => { box.checked = isChecked(); count.textContent = number; } };
}

function subsetBoxes(world) {
  const boxes = world.map.subsets.map((name, subset) => checkbox(name, swatch(subset), () => !state.hidden.has(subset), (isShown) => toggleSubset(subset, isShown)));
  const loose = checkbox("tokens in no cluster", element("span", "swatch none"), () => state.loose, (value) => change({ loose: value }));
  const all = world.map.subsets.map((_, subset) => subset);
  const later = checkbox("assigned later, fainter", element("span", "swatch none"), () => state.assigned, (value) => change({ assigned: value }));
  byId("subsets").append(...boxes.map((one) => one.node), loose.node, ...(world.map.assigned ? [later.node] : []));
  byId("subsets-all").append(button("link", "all", () => change({ hidden: START.hidden })), " · ", button("link", "none", () => change({ hidden: new Set(all) })));
  return () => {
    boxes.forEach((one, subset) => one.update(integer(model.tally.bySubset[subset])));
    loose.update("");
    later.update("");
  };
}

// Least and most of each range, in a place of the page; gives what brings them up to date.
export function rangeInputs(place, prefix = "") {
  const rows = RANGES.map(([name, label, step]) => {
    const inputs = ["least", "most"].map((end) => {
      const input = element("input", "");
      Object.assign(input, { type: "number", min: 0, step, placeholder: end, id: `${prefix}${name}-${end}` });
      input.setAttribute("aria-label", `${label}, ${end}`);
      return input;
    });
    const number = (input, otherwise) => (input.value === "" ? otherwise : Number(input.value));
    for (const input of inputs) input.addEventListener("input", () => change({ [name]: range(number(inputs[0], -Infinity), number(inputs[1], Infinity)) }));
    place.append(element("div", "range", element("span", "name", label), inputs[0], "–", inputs[1]));
    return [name, inputs];
  });
  return () => rows.forEach(([name, inputs]) => inputs.forEach((input, end) => {
    if (input !== document.activeElement) input.value = state[name] === ANY || !Number.isFinite(state[name][end]) ? "" : state[name][end];
  }));
}

// A switch for each subset; the legend is the filter.
export function subsetChips({ map }, place) {
  const updates = map.subsets.map((name, subset) => {
    const chip = button("chip", "", () => toggleSubset(subset, state.hidden.has(subset)));
    chip.append(swatch(subset), name);
    place.append(chip);
    return () => chip.setAttribute("aria-pressed", String(!state.hidden.has(subset)));
  });
  return () => updates.forEach((one) => one());
}

function toggleSubset(subset, isShown) {
  const hidden = new Set(state.hidden);
  if (isShown) hidden.delete(subset); else hidden.add(subset);
  change({ hidden: hidden.size ? hidden : START.hidden });
}

function regionChoice(world) {
  const choice = byId("region");
  byId("region-row").hidden = !world.regions.length;
  choice.append(option("", `all ${world.regions.length}`), ...world.regions.map((region) => option(region.id, `${region.id}: ${shorten(region.plain, 30)} (${integer(region.size)})`)));
  choice.addEventListener("change", () => change({ region: choice.value === "" ? null : Number(choice.value) }));
  return () => { choice.value = state.region === null ? "" : String(state.region); };
}

export function startControls(world) {
  const updates = [colourChoice(world), subsetBoxes(world), rangeInputs(byId("ranges")), regionChoice(world)];
  const update = () => updates.forEach((one) => one());
  onModel(update);
  onChange((changed) => { if (touches(changed, "colour")) update(); });
  update();
  const wide = matchMedia("(min-width: 900px)"), fold = () => { byId("controls").open = wide.matches; };
  wide.addEventListener("change", fold);
  fold();
}
