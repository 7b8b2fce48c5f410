// The card of the open cluster, in full for the largest ones; the control's cards are alike.
const clusterStats = (rows, id) => element("div", "stats",
  ...[["size", integer, ""], ["conductance", fixed, 3], ["stability", fixed, 2], ["repeatability", fixed, 2], ["sharedNeighbours", percent, ""], ["qValue", fixed, 3], ["tokenPurity", percent, ""], ["purity", percent, ""]]
    .map(([name, show, digits]) => stat(show(rows[name][id], digits), COLUMN[name].name, COLUMN[name].title)));

function contextLine([subset, loss, tokenId, position, clipped, before, y, after]) {
  const dot = swatch(subset);
  dot.title = DATA.subsets[subset];
  const line = element("li", "context",
    dot,
    element("span", "before", element("span", "", clipped ? element("span", "ws", "… ") : null, ...tokens(before))),
    element("span", "here", token(y, "lit"), element("span", "after", ...tokens(after))),
    element("span", "loss", fixed(loss, 2)));
  line.title = `${DATA.subsets[subset]}, token ${tokenId}, position ${position}, loss ${fixed(loss, 2)} nats`;
  line.addEventListener("click", () => { if (!String(getSelection())) line.classList.toggle("unfolded"); });
  return line;
}

function contextList(name, said, found) {
  const lines = found.map(contextLine), list = element("ol", "contexts", ...lines);
  list.setAttribute("aria-label", name);
  const unfold = button("unfold", "unfold all", () => {
    const isFolded = lines.some((line) => !line.classList.contains("unfolded"));
    for (const line of lines) line.classList.toggle("unfolded", isFolded);
    unfold.textContent = isFolded ? "fold all" : "unfold all";
  });
  return [element("header", "", element("h4", "", name, element("small", "", said)), unfold), list];
}

function contextLists({ random, central }, numMembers) {
  const said = random.length === numMembers ? `all ${integer(numMembers)}` : `${random.length} of ${integer(numMembers)}, drawn at random`;
  return element("div", "card-right",
    ...contextList("Random members", `${said}; loss in nats at the right`, random),
    ...(central.length ? contextList("Most central members", "of highest rank in the walk that found the cluster", central) : []));
}

function neighbours(ids) {
  if (!ids.length) return [];
  return [element("h4", "", "Neighbours", element("small", "", "nearest mean χ")),
    element("div", "tops", ...ids.filter((id) => id < NUM_ROWS).map((id) => {
      const link = button("near", `#${id} `, () => openCard(id));
      link.append(...ROWS.tops[id].slice(0, 2).map((y) => token(y)));
      return link;
    }))];
}

// The cluster of the control that shares most members, if any does.
function controlMatch(id) {
  const name = element("h4", "", "In the control, nβ = 0");
  if (!DATA.control) return [name, element("p", "match", "No control was run.")];
  const match = DATA.matches[id];
  if (!match) return [name, element("p", "match", "No cluster of the control shares a token with this one.")];
  const [other, jaccard] = match, rows = DATA.control.rows;
  if (other >= rows.size.length) return [name, element("p", "match", `Most alike: its cluster #${other}, Jaccard ${fixed(jaccard, 2)}.`)];
  return [name, element("p", "match", `Most alike: its cluster #${other}, ${integer(rows.size[other])} tokens, Jaccard ${fixed(jaccard, 2)} of the members`),
    element("div", "tops", ...rows.tops[other].map((y) => token(y)))];
}

function cardLeft(side, id, more) {
  const own = side.cards[id], { components } = side.columns;
  return [
    element("h4", "", "Most common y"),
    element("div", "tops", ...own.top.map(([y, count]) => element("span", "top", token(y), element("small", "", integer(count))))),
    element("h4", "", "Subsets"), ...subsetBar(DATA.subsets, own.subsets),
    element("h4", "", "Mean χ by component", element("small", "", strongest(own.chi, components))),
    profile(own.chi, components, { name: "Mean standardised χ by component" }),
    element("p", "key", element("span", "key-negative"), "below zero: expression, supports y ", element("span", "key-positive"), "above: suppression"),
    ...more];
}

function card(side, id, title, more) {
  const full = id < side.cards.length;
  const left = element("div", "card-left", title,
    ...(side.rows.holds[id] === 0 ? [element("p", "said", `${LOOSE} ${LOOSE_MEANS}`)] : []), clusterStats(side.rows, id), ...(full ? cardLeft(side, id, more) : [
    element("h4", "", "Most common y"), element("div", "tops", ...side.rows.tops[id].map((y) => token(y)))]));
  const right = full ? contextLists(side.cards[id], side.rows.size[id])
    : element("p", "empty", `χ and contexts are kept for the ${integer(side.cards.length)} largest clusters (report.max_cards); spectro map has those of all.`);
  return element("article", "card", left, right);
}

function drawCard() {
  if (state.open === null) return byId("card").replaceChildren();
  const title = element("h3", "", `Cluster #${state.open}`), close = button("close", "×", closeCard);
  title.tabIndex = -1;
  close.setAttribute("aria-label", "Close the card");
  const more = state.open < NUM_CARDS ? [...neighbours(DATA.cards[state.open].near), ...controlMatch(state.open)] : [];
  const node = card(DATA, state.open, element("div", "card-head", title, close), more);
  node.setAttribute("aria-label", `Cluster ${state.open}`);
  byId("card").replaceChildren(node);
}

// From the map, a neighbour or the address: the card is gone to.
function openCard(id) {
  change({ open: id });
  const at = DATA.points.at[id];
  if (at && at[0] !== null) centreOn(at);
  showCard();
}

function showCard() {
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  byId("card").scrollIntoView({ behavior: isStill ? "auto" : "smooth", block: "nearest" });
  byId("card").querySelector("h3")?.focus({ preventScroll: true });
}

function closeCard() {
  change({ open: null });
  byId("table").focus({ preventScroll: true });
}

function startCards() {
  onChange((changed) => { if (changed.has("open")) drawCard(); });
  drawCard();
}
