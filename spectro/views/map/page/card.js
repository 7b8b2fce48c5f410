// The card of a cluster: what it is made of, its tokens in their contexts, its neighbours.
import { readContext, readProfile, row, top } from "./data.js";
import { button, byId, element, fixed, integer, percent } from "./dom.js";
import { clusterRow } from "./list.js";
import { LOOSE, LOOSE_MEANS } from "./colours.js";
import { chiPicture, stat, subsetBar, swatch } from "./marks.js";
import { change, state } from "./state.js";
import { shown, token, tokens } from "./text.js";

const BEFORE = 26, AFTER = 8;

function stats({ clusters }, id) {
  const of = (name) => clusters[name].values[id];
  return element("div", "stats",
    stat(integer(of("size")), "tokens", "Members of the cluster"),
    stat(fixed(of("conductance"), 3), "conductance", "Share of the cluster's edge weight that leaves it: lower is better separated"),
    stat(fixed(of("stability"), 2), "stability", "How far two halves of the chains find the same tokens: 1 the same, – not known"),
    stat(fixed(of("repeatability"), 2), "ceiling", "How far other seeds of the same χ find the same tokens: what stability can reach, – not known"),
    stat(percent(of("shared_neighbours")), "shared", "Share of its tokens' nearest neighbours that two halves of the chains have in common, – not known"),
    stat(fixed(of("q_value"), 3), "q", "Chance, over all clusters, that it is no more than its y, in other draws; – not known"),
    stat(percent(of("token_purity")), "one y", "Share of the commonest y"),
    stat(percent(of("purity")), "one subset", "Share of the commonest subset"));
}

// One context: folded to what stands near y, the whole sequence when unfolded.
export function contextLine({ map }, context) {
  const { ids, position, subset, sequence } = context, y = position + 1;
  const line = element("li", "context");
  line.tabIndex = 0;
  line.title = `${map.subsets[subset]}, sequence ${sequence}, position ${position}; Enter unfolds`;
  const draw = (isOpen) => {
    const from = isOpen ? 0 : Math.max(0, y - BEFORE), to = isOpen ? ids.length : y + 1 + AFTER;
    line.replaceChildren(swatch(subset), element("span", "before", from ? element("span", "ws", "… ") : "", ...tokens(ids.subarray(from, y))),
      token(ids[y], "lit"), element("span", "after", ...tokens(ids.subarray(y + 1, to)), to < ids.length ? element("span", "ws", " …") : ""));
    line.classList.toggle("unfolded", isOpen);
  };
  const toggle = () => draw(!line.classList.contains("unfolded"));
  line.addEventListener("click", () => { if (!String(getSelection())) toggle(); });
  line.addEventListener("keydown", (event) => { if (event.key === "Enter") toggle(); });
  draw(false);
  return line;
}

// A list that fills when its sequences have come.
function contexts(world, ids, name) {
  const list = element("ol", "contexts");
  list.setAttribute("aria-label", name);
  Promise.all(ids.map((id) => readContext(world, id)))
    .then((found) => list.replaceChildren(...found.map((one) => contextLine(world, one))), (error) => list.replaceChildren(element("li", "empty", error.message)));
  return list;
}

function members(world, id) {
  const known = (name) => [...row(world.clusters[name], id)].filter((tokenId) => tokenId >= 0);
  const random = known("examples"), central = known("central"), size = world.clusters.size.values[id];
  const said = random.length === size ? `all ${size} members` : `${random.length} of ${integer(size)}, drawn at random`;
  const later = world.clusters.assigned?.values[id] ?? 0;
  return [
    element("h3", "", "Random members", element("small", "", said)), contexts(world, random, "Random members"),
    ...(central.length ? [element("h3", "", "Most central", element("small", "", "of highest rank in the walk that found the cluster")), contexts(world, central, "Most central members")] : []),
    ...(later ? [element("h3", "", "Assigned later", element("small", "", `${integer(later)} tokens that were added after the clusters were found; some at random`)), contexts(world, known("assigned_examples"), "Tokens assigned later")] : []),
  ];
}

function neighbours(world, id, hover) {
  const near = [...row(world.clusters.neighbours, id)].filter((other) => other >= 0);
  if (!near.length) return [];
  return [
    element("h3", "", "Neighbours", element("small", "", "nearest mean χ")),
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
    stats(world, id),
    element("h3", "", "Most common y"),
    element("div", "tops", ...top(world, id).map(([y, count]) => element("span", "top", token(y), element("small", "", integer(count))))),
    element("h3", "", "Subsets"), ...subsetBar(world.map.subsets, row(clusters.subset_counts, id)),
    element("h3", "", "Mean χ by component"), chi(world, id),
    ...neighbours(world, id, hover), ...members(world, id));
  if (region) panel.querySelector(".soft .link").append(...shown(region.name));
  panel.querySelector(".close").setAttribute("aria-label", "Close the card");
  panel.scrollTop = 0;
}
