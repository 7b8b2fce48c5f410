// The nβ = 0 control: its clusters by size, its largest ones.
const MOST_RANKS = 240;
const NAME = { width: 48, height: 13 };

// Ranks that stand apart on a logarithmic axis, the first and the last among them.
function ranksShown(count) {
  const number = Math.min(count, MOST_RANKS);
  if (number === count) return Array.from({ length: count }, (_, i) => i + 1);
  return [...new Set(Array.from({ length: number }, (_, i) => Math.round(Math.exp((Math.log(count) * i) / (number - 1)))))];
}

// Sizes by rank, both axes logarithmic; clusters are stored largest first.
function rankSize() {
  const curves = [["run", ROWS.size], ["control", DATA.control.rows.size]];
  const all = curves.flatMap(([, sizes]) => (sizes.length ? [sizes[0], sizes.at(-1)] : []));
  if (!all.length) return element("p", "empty", "Neither found a cluster.");
  const width = 560, height = 200, left = 48, bottom = 34, right = 66;
  const most = Math.max(2, ...curves.map(([, sizes]) => sizes.length)), high = Math.max(...all), low = Math.min(...all);
  const x = (rank) => left + (Math.log(rank) / Math.log(most)) * (width - left - right);
  const y = (size) => 10 + (1 - Math.log(size / low) / Math.log(Math.max(high / low, 1.5))) * (height - bottom - 10);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, role: "img", "aria-label": "Cluster size by rank, run and control" },
    svg("line", { x1: left, x2: width - right, y1: height - bottom, y2: height - bottom, class: "axis" }),
    svg("line", { x1: left, x2: left, y1: 10, y2: height - bottom, class: "axis" }),
    words(left - 6, y(high) + 4, integer(high), "end"), words(left - 6, y(low) + 4, low === high ? "" : integer(low), "end"),
    words(left, height - bottom + 15, 1, "middle"), words(x(most), height - bottom + 15, integer(most), "middle"),
    words((left + width - right) / 2, height - 4, "rank of the cluster", "middle"));
  for (const [name, sizes] of curves) {
    if (!sizes.length) continue;
    const ranks = ranksShown(sizes.length);
    picture.append(svg("polyline", { points: ranks.map((rank) => `${x(rank)},${y(sizes[rank - 1])}`).join(" "), class: `line-${name}` }));
    if (sizes.length < 80) picture.append(...ranks.map((rank) => svg("circle", { cx: x(rank), cy: y(sizes[rank - 1]), r: 2.2, class: `dot-${name}` })));
  }
  const names = curves.filter(([, sizes]) => sizes.length)
    .map(([name, sizes]) => ({ name, x: x(sizes.length) + 7, y: y(sizes.at(-1)) + 4 })).sort((a, b) => a.y - b.y);
  if (names.length === 2 && Math.abs(names[0].x - names[1].x) < NAME.width) names[0].y = Math.min(names[0].y, names[1].y - NAME.height);
  picture.append(...names.map((at) => words(at.x, at.y, at.name, "start", `name-${at.name}`)));
  return element("figure", "", element("figcaption", "", "Size of each cluster, in tokens, by rank"), picture);
}

function controlTable({ rows, cards }) {
  return table(["cluster", "tokens", "conductance", "one y", "subset", "most common y"], cards.slice(0, 10).map((_, id) => [
    `#${id}`, integer(rows.size[id]), fixed(rows.conductance[id], 3), percent(rows.tokenPurity[id]),
    element("span", "row-subset", swatch(rows.subset[id]), `${DATA.subsets[rows.subset[id]]} ${percent(rows.purity[id])}`),
    element("span", "", ...rows.tops[id].map((y) => token(y)))]));
}

function controlCards(control) {
  const cards = element("div", "");
  cards.hidden = true;
  const caption = () => {
    const { length } = control.cards;
    toggle.textContent = cards.hidden ? `Show the ${length === 1 ? "card of the largest" : `cards of the ${length} largest`}` : "Hide the cards";
    toggle.setAttribute("aria-expanded", String(!cards.hidden));
  };
  const toggle = button("more", "", () => {
    if (!cards.childNodes.length) cards.append(...control.cards.map((_, id) => card(control, id, element("h3", "", `Control's cluster #${id}`), [])));
    cards.hidden = !cards.hidden;
    caption();
  });
  caption();
  return [toggle, cards];
}

function drawControl() {
  const body = byId("control-body"), { control } = DATA;
  if (!control) return body.append(element("p", "empty", "No control was run (nβ = 0): the clusters above cannot be told from what noise alone would give."));
  body.append(rankSize());
  if (!control.summary.clusters) return body.append(element("p", "empty", "The control has no clusters."));
  if (control.cards.length) body.append(element("h3", "", "Largest clusters of the control"), element("div", "scroll", controlTable(control)), ...controlCards(control));
}
