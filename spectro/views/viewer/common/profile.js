// Numbers of components as a small picture, laid out by layer.
import { element, isKnown, signed, svg, withTooltip, words } from "./dom.js";

const MOST_BARS = 64;
const AFTER_HEADS = ["attn", "mlp", "mlp.gate", "mlp.up", "mlp.down", "norm1", "norm2", "q_norm", "k_norm", "layer"];

// Layer and the name within it, empty outside all layers; as in analysis/component_grid.py.
function place(name) {
  const match = /^l(\d+)(\D.*)$/.exec(name);
  return match ? { block: `L${match[1]}`, inside: match[2] } : { block: name, inside: "" };
}

const isMlp = (name) => /^mlp(\.|$)/.test(place(name).inside);

// Order within a layer: heads by number, each before its parts, then shared keys and values, the rest.
function rank(inside) {
  const match = /^(h|kv)(\d+)(?:\.([qkvo]))?$/.exec(inside), known = AFTER_HEADS.indexOf(inside);
  if (match) return [match[1] === "h" ? 0 : 1, Number(match[2]), match[3] ? "qkvo".indexOf(match[3]) + 1 : 0];
  return known < 0 ? [3, 0, 0] : [2, known, 0];
}

function compare(a, b) {
  const [first, second] = [rank(a), rank(b)], differing = first.findIndex((value, at) => value !== second[at]);
  return differing < 0 ? (a < b ? -1 : Number(a > b)) : first[differing] - second[differing];
}

// [[block name, [column, ...]], ...]: embed, the layers, final norm, unembed, the rest.
function blocks(components) {
  const byBlock = new Map(), last = { embed: -1, final_norm: 1e6, unembed: 2e6 };
  components.forEach((name, column) => {
    const { block, inside } = place(name);
    if (!byBlock.has(block)) byBlock.set(block, []);
    byBlock.get(block).push([inside, column]);
  });
  const order = (block) => last[block] ?? (/^L\d+$/.test(block) ? Number(block.slice(1)) : 3e6);
  return [...byBlock].sort(([a], [b]) => order(a) - order(b) || (a < b ? -1 : 1))
    .map(([block, columns]) => [block, columns.sort((a, b) => compare(a[0], b[0])).map(([, column]) => column)]);
}

const LETTER = 7.5; // width of one, with room
const SHORT = { embed: "emb", unembed: "unemb", final_norm: "norm" };
const short = (block) => SHORT[block] ?? (block.length > 9 ? `${block.slice(0, 8)}…` : block);

const size = (value) => (isKnown(value) ? Math.abs(value) : 0);
const signClass = (value, isPlain) => (isPlain ? "plain" : value < 0 ? "negative" : "positive");

export function strongest(values, components) {
  return [...values.keys()].filter((column) => isKnown(values[column])).sort((a, b) => size(values[b]) - size(values[a]))
    .slice(0, 2).map((column) => `${components[column]} ${signed(values[column])}`).join(", ");
}

const ofChi = (value) => (!isKnown(value) ? "not measured" : value < 0 ? "expression: supports y" : "suppression: works against y");

// Bars around zero, or tiles where bars would be too thin. `least` is the extent shown at least;
// colours are those of expression and suppression unless `isPlain`.
export function profile(values, components, { name, meaning = ofChi, least = 1, isPlain = false }) {
  const extreme = values.reduce((most, value) => Math.max(most, size(value)), least);
  const picture = svg("svg", { class: "profile", role: "img", "aria-label": `${name}; strongest: ${strongest(values, components)}` });
  const explain = (column) => () => [element("div", "", element("strong", "", components[column]), ` ${signed(values[column])}`),
    element("small", "", meaning(values[column]))];
  (components.length <= MOST_BARS ? bars : tiles)(picture, values, components, extreme, explain, isPlain);
  return picture;
}

function bars(picture, values, components, extreme, explain, isPlain) {
  const layout = blocks(components), gap = 9, caption = 13;
  const isSigned = values.some((value) => value < 0), above = isSigned ? 34 : 56, height = isSigned ? 68 : 56;
  const width = Math.max(4, Math.min(22, 318 / (components.length + (layout.length - 1) * 0.75)));
  let x = 0;
  for (const [block, columns] of layout) {
    const said = short(block), more = Math.max(0, LETTER * said.length - columns.length * width - gap) / 2; // room for the name
    const start = x += more;
    for (const column of columns) {
      const value = values[column], tall = Math.max((size(value) / extreme) * above, 0.5);
      const bar = svg("rect", { x: x + 0.75, y: value < 0 ? above : above - tall, width: width - 1.5, height: tall, rx: 1,
        class: `${signClass(value, isPlain)}${isMlp(components[column]) ? " mlp" : ""}` });
      const target = svg("g", {}, svg("rect", { x, y: 0, width, height, class: "catch" }), bar);
      withTooltip(target, explain(column));
      picture.append(target);
      x += width;
    }
    picture.append(svg("line", { x1: start, x2: x, y1: above, y2: above, class: "axis" }), words((start + x) / 2, height + caption - 2, said, "middle"));
    x += gap + more;
  }
  frame(picture, -8, Math.max(x - gap + 16, 48), height + caption);
}

function tiles(picture, values, components, extreme, explain, isPlain) {
  const layout = blocks(components), side = 9, left = 4 + LETTER * Math.max(4, ...layout.map(([block]) => short(block).length));
  const names = [...new Set(components.map((name) => place(name).inside))].sort(compare).filter(Boolean);
  layout.forEach(([block, columns], row) => columns.forEach((column, index) => {
    const { inside } = place(components[column]), across = inside ? names.indexOf(inside) : 0;
    const gap = inside && rank(inside)[0] > 1 ? 3 : 0; // after the heads
    const target = svg("rect", { x: left + side * across + gap, y: row * side, width: side - 1, height: side - 1,
      class: signClass(values[column], isPlain), "fill-opacity": 0.08 + (0.92 * size(values[column])) / extreme });
    withTooltip(target, explain(column));
    picture.append(target);
    if (!index) picture.append(words(left - 4, row * side + side - 2, short(block), "end"));
  }));
  frame(picture, 0, left + 6 + Math.max(1, names.length) * side, layout.length * side);
}

function frame(picture, left, width, height) {
  picture.setAttribute("viewBox", `${left} 0 ${width} ${height}`);
  picture.setAttribute("width", width);
}
