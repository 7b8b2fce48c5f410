// Numbers of components as a small picture: heads and MLP laid out by layer.
import { element, isKnown, signed, svg, withTooltip, words } from "./dom.js";

const MOST_BARS = 64;
const AFTER_HEADS = 10000; // shared keys and values come after the heads of their layer

function place(name) {
  const match = /^l(\d+)(?:h(\d+)|kv(\d+)|(mlp))$/.exec(name);
  if (!match) return { block: name, index: 0 };
  const [, layer, head, shared, mlp] = match;
  return { block: `L${layer}`, index: mlp ? Infinity : head ? Number(head) : AFTER_HEADS + Number(shared) };
}

// [[block name, [column, ...]], ...]: embed, then layers, then unembed and the rest.
function blocks(components) {
  const byBlock = new Map();
  components.forEach((name, column) => {
    const { block, index } = place(name);
    if (!byBlock.has(block)) byBlock.set(block, []);
    byBlock.get(block).push([index, column]);
  });
  const rank = (block) => (block === "embed" ? -1 : /^L\d+$/.test(block) ? Number(block.slice(1)) : 1e6);
  return [...byBlock].sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1))
    .map(([block, columns]) => [block, columns.sort((a, b) => a[0] - b[0]).map(([, column]) => column)]);
}

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
    const start = x;
    for (const column of columns) {
      const value = values[column], tall = Math.max((size(value) / extreme) * above, 0.5);
      const bar = svg("rect", { x: x + 0.75, y: value < 0 ? above : above - tall, width: width - 1.5, height: tall, rx: 1,
        class: `${signClass(value, isPlain)}${components[column].endsWith("mlp") ? " mlp" : ""}` });
      const target = svg("g", {}, svg("rect", { x, y: 0, width, height, class: "catch" }), bar);
      withTooltip(target, explain(column));
      picture.append(target);
      x += width;
    }
    const said = { embed: "emb", unembed: "unemb" }[block] ?? block;
    picture.append(svg("line", { x1: start, x2: x, y1: above, y2: above, class: "axis" }), words((start + x) / 2, height + caption - 2, said, "middle"));
    x += gap + (said.length > 3 && columns.length === 1 ? 6 : 0);
  }
  frame(picture, -8, Math.max(x - gap + 16, 48), height + caption);
}

function tiles(picture, values, components, extreme, explain, isPlain) {
  const layout = blocks(components), side = 9, widest = Math.max(...layout.map(([, columns]) => columns.length));
  layout.forEach(([block, columns], row) => columns.forEach((column, index) => {
    const isMlp = components[column].endsWith("mlp");
    const target = svg("rect", { x: 34 + side * index + (isMlp ? 3 : 0), y: row * side, width: side - 1, height: side - 1,
      class: signClass(values[column], isPlain), "fill-opacity": 0.08 + (0.92 * size(values[column])) / extreme });
    withTooltip(target, explain(column));
    picture.append(target);
    if (!index) picture.append(words(30, row * side + side - 2, block, "end"));
  }));
  frame(picture, 0, 40 + widest * side, layout.length * side);
}

function frame(picture, left, width, height) {
  picture.setAttribute("viewBox", `${left} 0 ${width} ${height}`);
  picture.setAttribute("width", width);
}
