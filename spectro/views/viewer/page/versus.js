// The run and its nβ = 0 control side by side: summary statistics, clusters by size.
import { byId, element, fixed, integer, percent, svg, table, words } from "./dom.js";

const MOST_RANKS = 240;
const NAME = { width: 48, height: 13 };

// Ranks evenly spaced on a logarithmic axis, the first and the last among them.
function ranksShown(count) {
  const number = Math.min(count, MOST_RANKS);
  if (number === count) return Array.from({ length: count }, (_, i) => i + 1);
  return [...new Set(Array.from({ length: number }, (_, i) => Math.round(Math.exp((Math.log(count) * i) / (number - 1)))))];
}

// Sizes by rank, both axes logarithmic; clusters are stored largest first.
function rankSize({ map, clusters }) {
  const curves = [["run", [...clusters.size.values]], ["control", map.control.sizes]];
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
  return element("figure", "", element("figcaption", "", "Size of each cluster, in tokens, by rank; both axes logarithmic"), picture);
}

// Medians of both, in two lines.
function comparison({ map, report }) {
  const share = (count) => `${integer(count)} (${percent(count / Math.max(1, map.tokens.total))})`;
  const sides = [[map.is_control ? "control, nβ = 0" : "run", report.summary], ["control, nβ = 0", report.control?.summary]].filter(([, summary]) => summary);
  return table(["", "clusters", "tokens in clusters", "largest", "median size", "median conductance", "hold", "median stability", "median ceiling", "recognisable", "median one subset", "median one y"],
    sides.map(([name, of]) => [name, integer(of.clusters), share(of.clustered), integer(of.largest), fixed(of.size, 0), fixed(of.conductance, 3),
      integer(of.hold), fixed(of.stability, 2), fixed(of.repeatability, 2), integer(of.recognisable), percent(of.purity), percent(of.tokenPurity)]));
}

function missing({ is_control: isControl, control_measured: isMeasured }) {
  if (isControl) return "This is the nβ = 0 control itself: clusters that noise gives which never looked at the loss.";
  return `The nβ = 0 control ${isMeasured ? "was measured, but has no clusters of this name" : "was not run"}: these clusters cannot be separated from what noise alone would give.`;
}

export function drawControl(world) {
  const { map } = world, body = byId("control-body");
  body.append(element("div", "scroll", comparison(world)));
  if (!map.control) return body.append(element("p", "empty", missing(map)));
  body.append(rankSize(world));
  if (!map.control.clusters) return body.append(element("p", "empty", "The control has no clusters."));
  if (!map.control.map) return;
  const link = element("a", "link", "Its map, its clusters and their cards");
  link.href = `${location.pathname}?map=control#show=clusters`;
  body.append(element("p", "said", link));
}
