// What was found: the run in a sentence, its clusters beside the control's, and kinds of token that
// a reader knows, with how far the responses know them too.
import { button, byId, element, fixed, integer, isKnown, percent, svg, table } from "./dom.js";
import { recognisable } from "./names.js";
import { change } from "./state.js";

export function drawFound(world) {
  const { map, report } = world, columns = report.columns ?? {};
  byId("lede").textContent =
    `Each of ${integer(map.tokens.total)} tokens in context is described by its susceptibilities χ: how the loss on it moves with ` +
    `the model's overall loss when one component at a time (attention heads, MLPs, embeddings: ${map.components.length} of them) ` +
    "is sampled from its local posterior. The clusters were found from these responses alone, without looking at the text.";
  drawCounts(world);
  byId("warnings").append(...(columns.warnings ?? []).map((warning) => element("li", "", warning)));
  byId("warnings").hidden = !columns.warnings?.length;
  if (report.names) byId("names").append(...recognisable(report.names, report.control?.names));
  const kinds = report.found ?? [];
  byId("known").hidden = !kinds.length;
  if (!kinds.length) return;
  byId("found-table").append(table(["kind of token", "tokens", "known to the responses (AUC)", "components that know most", "clusters of this kind", "tokens in them"],
    kinds.map((kind) => [
      element("span", "kind", element("strong", "", kind.name), element("small", "", kind.meaning)),
      integer(kind.tokens), aucBar(kind), componentsOf(kind), clustersOf(kind), percent(kind.held)])));
}

function drawCounts({ map }) {
  const counts = [[map.clusters.total, map.is_control ? "control, nβ = 0" : "real posterior"]];
  if (map.control) counts.push([map.control.clusters, "control, nβ = 0"]);
  byId("counts").append(...counts.map(([count, where], index) =>
    element("div", index ? "tally faint" : "tally",
      element("strong", "", integer(count)), element("span", "", count === 1 ? "cluster" : "clusters"), element("small", "", where))));
  if (!map.control && !map.is_control && !map.control_measured) byId("counts").append(element("p", "note", "No control was run (nβ = 0)."));
}

// From 0.5, guessing, to 1; the tick is what the loss alone knows.
function aucBar({ auc, aucOfLoss }) {
  if (!isKnown(auc)) return element("span", "said", "too few to say");
  const width = 132, height = 15, x = (value) => 2 * (Math.max(0.5, value) - 0.5) * width;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `AUC ${fixed(auc, 2)}, of the loss alone ${fixed(aucOfLoss, 2)}` },
    svg("rect", { x: 0, y: 2, width, height: height - 4, class: "bar-empty" }),
    svg("rect", { x: 0, y: 2, width: x(auc), height: height - 4, class: "bar-real" }),
    svg("line", { x1: x(aucOfLoss), x2: x(aucOfLoss), y1: 0, y2: height, class: "mark-raw" }));
  return element("span", "auc", picture, element("b", "", fixed(auc, 2)));
}

const componentsOf = ({ components }) => element("span", "", ...components.map(([name, auc]) => element("span", "part", name, element("small", "", fixed(auc, 2)))));

function clustersOf({ clusters, numClusters, held }) {
  if (!numClusters) return element("span", "said", isKnown(held) ? "none" : "not known");
  const links = clusters.map(([id, share]) => {
    const link = button("near", `#${id}`, () => change({ open: id, panel: "card" }));
    link.title = `${percent(share)} of its members are of this kind`;
    return link;
  });
  const rest = numClusters - clusters.length;
  return element("span", "links", ...links, rest > 0 ? element("small", "", `and ${integer(rest)} more`) : null);
}
