// Reliability of each column, the control's beside it.
function drawColumns() {
  const real = DATA.columns, control = DATA.control ? DATA.control.columns : null;
  const layout = blocks(real.components), height = 150, gap = 14;
  const numBlocks = layout.length, width = Math.max(9, Math.min(34, (1060 - gap * numBlocks) / Math.max(1, real.components.length)));
  const picture = svg("svg", { role: "group", "aria-label": "Reliability by component" });
  const yOf = (value) => height - Math.max(0, value) * height;
  const end = 36 + real.components.length * width + gap * numBlocks;
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    picture.append(svg("line", { x1: 32, x2: end, y1: yOf(tick), y2: yOf(tick), class: tick ? "grid" : "axis" }));
    picture.append(words(26, yOf(tick) + 4, tick, "end"));
  }
  let x = 40;
  for (const [block, columns] of layout) {
    const start = x;
    for (const column of columns) {
      picture.append(columnBars(column, x, width, yOf, height));
      const name = real.components[column], caption = block === name ? "" : name.replace(/^l\d+/, "");
      if (width >= 14) picture.append(words(x + width / 2, height + 14, caption, "middle"));
      x += width;
    }
    picture.append(words((start + x) / 2, height + 30, block, "middle", "strong"));
    x += gap;
  }
  picture.setAttribute("viewBox", `0 -8 ${end + 4} ${height + 44}`);
  picture.setAttribute("width", end + 4);
  byId("reliability").append(
    element("p", "key", element("span", "key-real"), `run, median ${fixed(median(real.reliability), 2)}`,
      ...(real.centred ? [element("span", "key-centred"), `run, row-centred, median ${fixed(median(real.centred), 2)}`] : []),
      ...(control ? [element("span", "key-control"), `control, median ${fixed(median(control.reliability), 2)}`] : [])),
    element("div", "scroll", picture));
}

function words(x, y, text, anchor, className = "") {
  return Object.assign(svg("text", { x, y, "text-anchor": anchor, class: className }), { textContent: text });
}

function columnBars(column, x, width, yOf, height) {
  const real = DATA.columns, name = real.components[column];
  const other = DATA.control ? DATA.control.columns.components.indexOf(name) : -1;
  const mine = real.reliability[column], theirs = other < 0 ? null : DATA.control.columns.reliability[other];
  const bar = (value, from, span, className) => value === null
    ? words(from + span / 2, height - 3, "×", "middle")
    : svg("rect", { x: from, y: Math.min(yOf(value), height - 1.5), width: span, height: Math.max(1.5, height - yOf(value)), class: className, rx: 1 });
  const split = DATA.control ? 0.58 : 0.86;
  const group = svg("g", { tabindex: 0, role: "img", "aria-label": `${name}: reliability ${fixed(mine, 2)}` },
    svg("rect", { x, y: 0, width, height: height + 18, class: "catch" }),
    bar(mine, x + width * 0.08, width * split - 1, "bar-real"));
  if (real.centred && real.centred[column] !== null) {
    const y = yOf(real.centred[column]);
    group.append(svg("line", { x1: x + width * 0.02, x2: x + width * (0.08 + split), y1: y, y2: y, class: "mark-centred" }));
  }
  if (other >= 0) group.append(bar(theirs, x + width * (0.08 + split), width * 0.26, "bar-control"));
  withTooltip(group, () => [
    element("strong", "", name),
    element("div", "", `reliability ${fixed(mine, 3)}`, other >= 0 ? `, control ${fixed(theirs, 3)}` : ""),
    real.centred ? element("div", "", `row-centred ${fixed(real.centred[column], 3)}`, other >= 0 && DATA.control.columns.centred ? `, control ${fixed(DATA.control.columns.centred[other], 3)}` : "") : "",
    real.meanPhi ? element("div", "", `mean φ ${scientific(real.meanPhi[column])} nats`) : "",
    real.standardError ? element("div", "", `standard error of χ ${scientific(real.standardError[column])}`) : "",
  ]);
  return group;
}

const scientific = (value) => (value === null ? "–" : Math.abs(value) >= 0.01 && Math.abs(value) < 1000 ? value.toPrecision(3) : value.toExponential(1));
