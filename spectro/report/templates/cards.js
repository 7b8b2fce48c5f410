// A card per cluster, made a screenful at a time.
const BATCH = 24;
let queue = [];

function stat(value, name, help) {
  const node = element("div", "stat", element("b", "", value), element("span", "", name));
  node.title = help;
  return node;
}

function subsetBar(cluster) {
  const total = Math.max(1, sum(cluster.subsets));
  const order = [...cluster.subsets.keys()].filter((subset) => cluster.subsets[subset])
    .sort((a, b) => cluster.subsets[b] - cluster.subsets[a]);
  const bar = element("div", "stack", ...order.map((subset) => {
    const part = element("span", isSecondRound(subset) ? "striped" : "");
    part.style.flexGrow = cluster.subsets[subset];
    part.style.background = `var(${colourVariable(subset)})`;
    withTooltip(part, () => [swatch(subset), `${DATA.subsets[subset]} ${integer(cluster.subsets[subset])}, ${percent(cluster.subsets[subset] / total)}`]);
    return part;
  }));
  const words = element("p", "stack-words", ...order.slice(0, 3).flatMap((subset) =>
    [element("span", "", swatch(subset), `${DATA.subsets[subset]} ${percent(cluster.subsets[subset] / total)}`)]));
  if (order.length > 3) words.append(element("span", "", `+${order.length - 3}`));
  return [bar, words];
}

function contextLine([subset, loss, tokenId, position, clipped, before, y, after]) {
  const mark = swatch(subset);
  mark.title = DATA.subsets[subset];
  const line = element("li", "context",
    mark,
    element("span", "before", element("span", "", clipped ? element("span", "ws", "… ") : null, ...tokens(before))),
    element("span", "here", token(y, "lit"), element("span", "after", ...tokens(after))),
    element("span", "loss", fixed(loss, 2)));
  line.title = `${DATA.subsets[subset]}, token ${tokenId}, position ${position}, loss ${fixed(loss, 2)} nats`;
  line.addEventListener("click", () => { if (!String(getSelection())) line.classList.toggle("unfolded"); });
  return line;
}

function contextList(lines, size) {
  const list = element("ol", "contexts", ...lines);
  const unfold = button("unfold", "unfold all", () => {
    const folded = lines.some((line) => !line.classList.contains("unfolded"));
    for (const line of lines) line.classList.toggle("unfolded", folded);
    unfold.textContent = folded ? "fold all" : "unfold all";
  });
  const count = lines.length === size ? `all ${lines.length} members` : `${lines.length} random members of ${integer(size)}; loss in nats at the right`;
  return element("div", "card-right", element("header", "", element("span", "", count), unfold), list);
}

function near(id, prefix) {
  const link = element("a", "", `#${id}`);
  link.href = `#${prefix}${id}`;
  return link;
}

function card(cluster, components, prefix) {
  const anchor = element("a", "card-id", `#${cluster.id}`);
  anchor.href = `#${prefix}${cluster.id}`;
  const left = element("div", "card-left",
    element("h3", "", anchor),
    element("div", "stats",
      stat(integer(cluster.size), "tokens", "Members of the cluster"),
      stat(fixed(cluster.conductance, 3), "conductance", "Share of the cluster's edge weight that leaves it: lower is better separated"),
      stat(cluster.tokenPurity === null ? "–" : percent(cluster.tokenPurity), "one y", "Share of the commonest y"),
      stat(cluster.purity === null ? "–" : percent(cluster.purity), "one subset", "Share of the commonest subset")),
    element("h4", "", "Most common y"),
    element("div", "tops", ...cluster.top.map(([id, count]) => element("span", "top", token(id), element("small", "", integer(count))))),
    element("h4", "", "Subsets"), ...subsetBar(cluster),
    element("h4", "", "Mean χ by component", element("small", "", strongest(cluster.chi, components))), profile(cluster, components),
    cluster.near.length ? element("p", "near", "Nearest: ", ...cluster.near.map((id) => near(id, prefix))) : null);
  const lines = (cluster.contexts ?? []).map(contextLine);
  const right = lines.length ? contextList(lines, cluster.size)
    : element("p", "empty", "Contexts are kept for the largest clusters only (report.max_cards).");
  const node = element("article", "card", left, right);
  node.id = `${prefix}${cluster.id}`;
  node.tabIndex = -1;
  node.setAttribute("aria-label", `Cluster ${cluster.id}`);
  return node;
}

function showMore(atLeast = BATCH) {
  const next = queue.splice(0, Math.max(BATCH, atLeast));
  byId("cards").append(...next.map((cluster) => card(cluster, DATA.columns.components, "c")));
  byId("more").hidden = !queue.length;
  byId("more").textContent = `Show more (${integer(queue.length)} left)`;
}

function drawCards() {
  queue = shownClusters();
  byId("cards").replaceChildren();
  if (!queue.length) byId("cards").append(element("p", "empty",
    DATA.clusters.length ? "No cluster matches the search and the subsets chosen." : "No cluster was found in this run."));
  showMore();
}

function revealCard(cluster) {
  if (!isShown(cluster)) {
    byId("search").value = "";
    for (const toggle of byId("legend").children) toggle.setAttribute("aria-pressed", "true");
    change({ query: "", hidden: new Set() });
  }
  const ahead = queue.indexOf(cluster);
  if (ahead >= 0) showMore(ahead + 1);
  for (const other of document.querySelectorAll(".card.chosen")) other.classList.remove("chosen");
  const node = byId(`c${cluster.id}`);
  node.classList.add("chosen");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  node.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
  node.focus({ preventScroll: true });
  history.replaceState(null, "", `#c${cluster.id}`);
}

function startCards() {
  drawCards();
  byId("more").addEventListener("click", () => showMore());
  byId("sort").addEventListener("change", (event) => change({ sort: event.target.value }));
  onChange((update) => { if ("query" in update || "hidden" in update || "sort" in update) drawCards(); });
}
