// The mean χ of a cluster over components: heads and MLP laid out by layer.
function place(name) {
  const match = /^l(\d+)(?:h(\d+)|(mlp))$/.exec(name);
  if (!match) return { block: name, index: 0 };
  return { block: `L${match[1]}`, index: match[3] ? Infinity : Number(match[2]) };
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

const MOST_BARS = 64;

function strongest(chi, components) {
  const columns = [...chi.keys()].filter((column) => chi[column] !== null);
  return columns.sort((a, b) => Math.abs(chi[b]) - Math.abs(chi[a])).slice(0, 2)
    .map((column) => `${components[column]} ${signed(chi[column])}`).join(", ");
}

function profile(cluster, components) {
  const draw = components.length <= MOST_BARS ? bars : tiles;
  const picture = draw(cluster.chi, components);
  picture.setAttribute("aria-label", `Mean standardised χ by component; strongest: ${strongest(cluster.chi, components)}`);
  return picture;
}

const signed = (value) => (value === null ? "–" : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`);
const signClass = (value) => (value < 0 ? "negative" : "positive");

function explainColumn(name, value) {
  const meaning = value === null ? "not measured" : value < 0 ? "expression: supports y" : "suppression: works against y";
  return () => [element("strong", "", name), ` ${signed(value)} `, element("small", "", meaning)];
}

function bars(chi, components) {
  const layout = blocks(components), gap = 9, half = 34, labelHeight = 13;
  const slots = components.length + (layout.length - 1) * 0.75;
  const width = Math.max(4, Math.min(22, (320 - 2) / slots));
  const extreme = Math.max(1, ...chi.map((value) => Math.abs(value ?? 0)));
  const picture = svg("svg", { class: "profile", role: "img" });
  let x = 0;
  for (const [block, columns] of layout) {
    const start = x;
    for (const column of columns) {
      const value = chi[column], height = (Math.abs(value ?? 0) / extreme) * half;
      const isMlp = components[column].endsWith("mlp");
      const target = svg("g", {},
        svg("rect", { x, y: 0, width, height: 2 * half, class: "catch" }),
        svg("rect", { x: x + 0.75, y: value < 0 ? half : half - height, width: width - 1.5, height: Math.max(height, 0.5),
          class: `${signClass(value)}${isMlp ? " mlp" : ""}`, rx: 1 }));
      withTooltip(target, explainColumn(components[column], value));
      picture.append(target);
      x += width;
    }
    picture.append(svg("line", { x1: start, x2: x, y1: half, y2: half, class: "axis" }));
    const caption = { embed: "emb", unembed: "unemb" }[block] ?? block;
    picture.append(Object.assign(svg("text", { x: (start + x) / 2, y: 2 * half + labelHeight - 2, "text-anchor": "middle" }), { textContent: caption }));
    x += gap + (caption.length > 3 && columns.length === 1 ? 6 : 0);
  }
  const total = Math.max(x - gap + 8, 40);
  picture.setAttribute("viewBox", `-8 0 ${total + 8} ${2 * half + labelHeight}`);
  picture.setAttribute("width", total + 8);
  return picture;
}

function tiles(chi, components) {
  const layout = blocks(components), size = 9;
  const extreme = Math.max(1, ...chi.map((value) => Math.abs(value ?? 0)));
  const picture = svg("svg", { class: "profile", role: "img" });
  const widest = Math.max(...layout.map(([, columns]) => columns.length));
  layout.forEach(([block, columns], row) => columns.forEach((column, index) => {
    const value = chi[column], isMlp = components[column].endsWith("mlp");
    const target = svg("rect", { x: 34 + size * index + (isMlp ? 3 : 0), y: row * size, width: size - 1, height: size - 1,
      class: signClass(value), "fill-opacity": 0.08 + 0.92 * Math.abs(value ?? 0) / extreme });
    withTooltip(target, explainColumn(components[column], value));
    picture.append(target);
    if (!index) picture.append(Object.assign(svg("text", { x: 30, y: row * size + size - 2, "text-anchor": "end" }), { textContent: block }));
  }));
  picture.setAttribute("viewBox", `0 0 ${40 + widest * size} ${layout.length * size}`);
  picture.setAttribute("width", 40 + widest * size);
  return picture;
}
