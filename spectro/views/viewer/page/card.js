// The card of a cluster: what it is made of, its tokens in their contexts, its neighbours.
import { readContext, readProfile, row, top } from "./data.js";
import { button, byId, element, fixed, integer, percent } from "./dom.js";
import { clusterRow } from "./list.js";
import { LOOSE, LOOSE_MEANS } from "./colours.js";
import { FIELD, membersShown, ON_CARD } from "./fields.js";
import { chiPicture, stat, subsetBar, swatch } from "./marks.js";
import { nameLines } from "./names.js";
import { change, state } from "./state.js";
import { shown, token, tokens } from "./text.js";

const stats = (world, id) => element("div", "stats", ...ON_CARD.map((key) => {
  const { name, title, show } = FIELD[key];
  return stat(show(world, id)[0], name, title);
}));

// One context: folded to the tokens around y, the whole sequence when unfolded.
function contextLine({ map }, context, loss) {
  const [before, after] = map.window;
  const { ids, position, subset, sequence } = context, y = position + 1;
  const line = element("li", "context");
  line.tabIndex = 0;
  line.title = `${map.subsets[subset]}, sequence ${sequence}, position ${position}, loss ${fixed(loss, 2)} nats; Enter unfolds`;
  const draw = (isOpen) => {
    const from = isOpen ? 0 : Math.max(0, y - before), to = isOpen ? ids.length : y + 1 + after;
    line.replaceChildren(swatch(subset), element("span", "before", from ? element("span", "ws", "… ") : "", ...tokens(ids.subarray(from, y))),
      token(ids[y], "lit"), element("span", "after", ...tokens(ids.subarray(y + 1, to)), to < ids.length ? element("span", "ws", " …") : ""), element("span", "loss", fixed(loss, 2)));
    line.classList.toggle("unfolded", isOpen);
  };
  const toggle = () => draw(!line.classList.contains("unfolded"));
  line.addEventListener("click", () => { if (!String(getSelection())) toggle(); });
  line.addEventListener("keydown", (event) => { if (event.key === "Enter") toggle(); });
  draw(false);
  return line;
}

// A list that fills when its sequences have come.
function contexts(world, ids, losses, name) {
  const list = element("ol", "contexts");
  list.setAttribute("aria-label", name);
  Promise.all(ids.map((id) => readContext(world, id)))
    .then((found) => list.replaceChildren(...found.map((one, index) => (one ? contextLine(world, one, losses?.[index]) : ""))), (error) => list.replaceChildren(element("li", "empty", error.message)));
  return list;
}

function unfolder(...lists) {
  const toggle = button("link", "unfold all", () => {
    const lines = lists.flatMap((list) => [...list.querySelectorAll(".context")]), isFolded = lines.some((line) => !line.classList.contains("unfolded"));
    for (const line of lines) if (line.classList.contains("unfolded") !== isFolded) line.click();
    toggle.textContent = isFolded ? "fold all" : "unfold all";
  });
  return toggle;
}

function members(world, id) {
  const random = membersShown(world, "examples", id), central = membersShown(world, "central", id), size = world.clusters.size.values[id];
  if (!random.length && size) return [element("p", "empty", "Contexts are kept for the largest clusters (report.max_cards); spectro map has those of all.")];
  const said = random.length === size ? `all ${size} members` : `${random.length} of ${integer(size)}, drawn at random`;
  const later = world.clusters.assigned?.values[id] ?? 0, losses = (name) => row(world.clusters[name], id);
  const list = contexts(world, random, losses("examples_loss"), "Random members");
  const middle = contexts(world, central, losses("central_loss"), "Most central members");
  return [
    element("h3", "", "Random members", element("small", "", `${said}; loss in nats at the right`)), unfolder(list, middle), list,
    ...(central.length ? [element("h3", "", "Most central members", element("small", "", "of highest rank in the walk that found the cluster")), middle] : []),
    ...(later ? [element("h3", "", "Assigned later", element("small", "", `${integer(later)} tokens that were added after the clusters were found; some at random`)),
      contexts(world, membersShown(world, "assigned_examples", id), null, "Tokens assigned later")] : []),
  ];
}

// The cluster of the control that shares most members, if any does.
function controlMatch({ map, clusters }, id) {
  if (!clusters.control_match) return [];
  const match = clusters.control_match.values[id], name = element("h3", "", "In the control, nβ = 0");
  if (match < 0) return [name, element("p", "match", "No cluster of the control shares a token with this one.")];
  const said = `Most alike: its cluster #${match}, ${integer(map.control?.sizes[match])} tokens, Jaccard ${fixed(clusters.control_jaccard.values[id], 2)} of the members`;
  const link = element("a", "link", "show it");
  link.href = `${location.pathname}?map=control#cluster=${match}`;
  return [name, element("p", "match", said, ...(map.control?.map ? [" ", link] : []))];
}

// The best features of an autoencoder, where the clusters were matched to one.
function features({ map, clusters }, id) {
  if (!clusters.features) return [];
  const { title, threshold } = map.autoencoder;
  const name = element("h3", "", "Features", element("small", "", `best by F1 for membership; ${title}`));
  const best = [...row(clusters.features, id)].filter((one) => one >= 0);
  if (!best.length) return [name, element("p", "match", "No feature is active on its tokens.")];
  const said = best.map((one, place) => {
    const [f1, precision, recall, auc] = ["f1", "precision", "recall", "auc"].map((score) => fixed(row(clusters[`feature_${score}`], id)[place], 2));
    const level = row(clusters.feature_level, id)[place], strongest = level < 1 ? `, strongest ${percent(level)}:` : "";
    const find = button("link", `feature ${one}`, () => change({ query: `feature:${one}`, panel: "list", open: null }));
    find.title = "Clusters that have it among their best";
    return element("p", row(clusters.feature_f1, id)[place] >= Math.fround(threshold) ? "match" : "soft", find, `${strongest} F1 ${f1}, precision ${precision}, recall ${recall}, AUC ${auc}`);
  });
  return [name, ...said];
}

function neighbours(world, id, hover) {
  const near = [...row(world.clusters.neighbours, id)].filter((other) => other >= 0);
  const around = world.names.neighbourhood[id];
  if (!near.length) return [];
  return [
    element("h3", "", "Neighbours", element("small", "", "nearest mean χ")),
    ...(around ? [element("p", "soft", "together with them: ", element("span", "set-name tok", ...shown(around)), ` (F1 ${fixed(world.clusters.neighbourhood_f1.values[id], 2)})`)] : []),
    element("ol", "list", ...near.map((other) => clusterRow(world, other, hover))),
    button("action", "Select neighbourhood", () => change({ selection: { clusters: [id, ...near] }, panel: "selection", open: null })),
  ];
}

function chi(world, id) {
  const figure = element("figure", "chi"), { components } = world.map;
  const draw = (values) => figure.replaceChildren(...chiPicture(values, components));
  readProfile(world, id).then(draw, (error) => figure.replaceChildren(element("p", "empty", error.message)));
  return figure;
}

export function drawCard(world, hover, show) {
  const panel = byId("card"), id = state.open, { clusters, regions } = world;
  if (id === null) return panel.replaceChildren();
  const region = regions.find((one) => one.id === clusters.region.values[id]);
  const title = element("h2", "", `Cluster #${id}`);
  title.tabIndex = -1;
  panel.replaceChildren(
    element("div", "card-head", title, button("link", "show on the map", () => show(id)), button("close", "×", () => change({ open: null, panel: "list" }))),
    region ? element("p", "soft", "in region ", button("link", "", () => change({ region: region.id, panel: "list", open: null }))) : "",
    clusters.holds.values[id] === 0 ? element("p", "soft", `${LOOSE} ${LOOSE_MEANS}`) : "",
    ...nameLines(world, id), stats(world, id),
    element("h3", "", "Most common y"),
    element("div", "tops", ...top(world, id).map(([y, count]) => element("span", "top", token(y), element("small", "", integer(count))))),
    element("h3", "", "Subsets"), ...subsetBar(world.map.subsets, row(clusters.subset_counts, id)),
    element("h3", "", "Mean χ by component"), chi(world, id),
    ...features(world, id), ...neighbours(world, id, hover), ...controlMatch(world, id), ...members(world, id));
  if (region) panel.querySelector(".soft .link").append(...shown(region.name));
  panel.querySelector(".close").setAttribute("aria-label", "Close the card");
  panel.scrollTop = 0;
}
