// The nβ = 0 control beside the run.
function comparison() {
  const control = DATA.control;
  const own = { sizes: DATA.clusters.map((c) => c.size), conductances: DATA.clusters.map((c) => c.conductance),
    purities: DATA.clusters.map((c) => c.purity), tokenPurities: DATA.clusters.map((c) => c.tokenPurity), columns: DATA.columns };
  const share = (side) => percent(sum(side.sizes) / Math.max(1, DATA.numTokens));
  const rows = [
    ["Clusters", (side) => integer(side.sizes.length)],
    ["Tokens in clusters", (side) => `${integer(sum(side.sizes))} (${share(side)})`],
    ["Largest", (side) => (side.sizes.length ? integer(Math.max(...side.sizes)) : "–")],
    ["Median size", (side) => fixed(median(side.sizes), 0)],
    ["Median conductance", (side) => fixed(median(side.conductances), 3)],
    ["Median share of the commonest y", (side) => fixed(median(side.tokenPurities), 2)],
    ["Median share of the commonest subset", (side) => fixed(median(side.purities), 2)],
    ["Median reliability", (side) => fixed(median(side.columns.reliability), 2)],
  ];
  return table(["", "run", "control, nβ = 0"], rows.map(([name, show]) => [name, show(own), show(control)]));
}

function table(head, rows) {
  const cells = (tag, row) => row.map((cell, index) => {
    const node = element(index || tag === "th" ? tag : "th", "", cell);
    if (node.tagName === "TH") node.scope = tag === "th" ? "col" : "row";
    return node;
  });
  return element("table", "", element("thead", "", element("tr", "", ...cells("th", head))),
    element("tbody", "", ...rows.map((row) => element("tr", "", ...cells("td", row)))));
}

// Sizes by rank, both axes logarithmic.
function rankSize() {
  const curves = [["run", DATA.clusters.map((c) => c.size)], ["control", DATA.control.sizes]]
    .map(([name, sizes]) => [name, [...sizes].sort((a, b) => b - a)]);
  const all = curves.flatMap(([, sizes]) => sizes);
  if (!all.length) return element("p", "empty", "Neither found a cluster.");
  const width = 460, height = 190, left = 44, bottom = 34;
  const most = Math.max(2, ...curves.map(([, sizes]) => sizes.length)), high = Math.max(...all), low = Math.min(...all);
  const x = (rank) => left + (Math.log(rank) / Math.log(most)) * (width - left - 60);
  const y = (size) => 10 + (1 - Math.log(size / low) / Math.log(Math.max(high / low, 1.5))) * (height - bottom - 10);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, role: "img", "aria-label": "Cluster size by rank, run and control" },
    svg("line", { x1: left, x2: width - 60, y1: height - bottom, y2: height - bottom, class: "axis" }),
    svg("line", { x1: left, x2: left, y1: 10, y2: height - bottom, class: "axis" }),
    words(left - 6, y(high) + 4, high, "end"), words(left - 6, y(low) + 4, low === high ? "" : low, "end"),
    words(left, height - bottom + 15, 1, "middle"), words(x(most), height - bottom + 15, most, "middle"),
    words((left + width - 60) / 2, height - 4, "rank of the cluster", "middle"));
  for (const [name, sizes] of curves) {
    if (!sizes.length) continue;
    picture.append(svg("polyline", { points: sizes.map((size, i) => `${x(i + 1)},${y(size)}`).join(" "), class: `line-${name}` }));
    for (const [i, size] of sizes.entries()) if (sizes.length < 80) picture.append(svg("circle", { cx: x(i + 1), cy: y(size), r: 2.2, class: `dot-${name}` }));
    picture.append(words(x(sizes.length) + 7, y(sizes.at(-1)) + 4, name, "start", `name-${name}`));
  }
  return element("figure", "", element("figcaption", "", "Size of each cluster, in tokens, by rank"), picture);
}

function controlTable(clusters) {
  return table(["cluster", "size", "conductance", "most common y", "subsets"], clusters.slice(0, 10).map((cluster) => [
    `#${cluster.id}`, integer(cluster.size), fixed(cluster.conductance, 3),
    element("span", "", ...cluster.top.slice(0, 6).map(([id]) => token(id))),
    element("span", "row-subset", swatch(cluster.dominant), `${DATA.subsets[cluster.dominant]} ${percent(cluster.subsets[cluster.dominant] / Math.max(1, sum(cluster.subsets)))}`),
  ]));
}

function drawControl() {
  const body = byId("control-body"), control = DATA.control;
  if (!control) return body.append(element("p", "empty", "The control was not run: clusters above cannot be told from what noise alone would give."));
  body.append(element("div", "beside", comparison(), rankSize()));
  if (!control.clusters.length) return body.append(element("p", "empty", "The control has no clusters."));
  const cards = element("div", "", ...[]);
  cards.hidden = true;
  const toggle = button("more", "", () => {
    if (!cards.childNodes.length) cards.append(...control.clusters.map((cluster) => card(cluster, control.columns.components, "k")));
    cards.hidden = !cards.hidden;
    caption();
  });
  const caption = () => {
    toggle.textContent = cards.hidden ? `Show the cards of the ${control.clusters.length === 1 ? "" : control.clusters.length + " "}largest` : "Hide the cards";
    toggle.setAttribute("aria-expanded", String(!cards.hidden));
  };
  caption();
  body.append(element("h3", "", "Largest clusters of the control"), element("div", "scroll", controlTable(control.clusters)), toggle, cards);
}
