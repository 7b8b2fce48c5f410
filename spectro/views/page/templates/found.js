// What was found: kinds of token that a reader knows, and how far the responses know them too.
function drawFound() {
  const place = byId("found");
  if (!DATA.found.length) {
    place.hidden = true;
    byId("found-link").hidden = true;
    return;
  }
  byId("found-table").append(table(["kind of token", "tokens", "known to the responses (AUC)", "components that know most", "clusters of this kind", "tokens in them"],
    DATA.found.map((kind) => [
      element("span", "kind", element("strong", "", kind.name), element("small", "", kind.meaning)),
      integer(kind.tokens), aucBar(kind), componentsOf(kind), clustersOf(kind), percent(kind.held)])));
  if (DATA.recognised !== null) byId("found-table").append(element("p", "said", recognisedSentence(DATA.recognised)));
}

const recognisedSentence = ({ share, judged, least }) =>
  `In half of the ${integer(judged)} clusters that have ${least} members or more in the sample of tokens, at least ${percent(share)} of the members share one y or one of these kinds.`;

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
    const link = button("near", `#${id}`, () => openCard(id));
    link.title = `${percent(share)} of its members are of this kind`;
    return link;
  });
  const rest = numClusters - clusters.length;
  return element("span", "links", ...links, rest > 0 ? element("small", "", `and ${integer(rest)} more`) : null);
}
