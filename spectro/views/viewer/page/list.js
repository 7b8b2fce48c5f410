// The clusters as a list: what the map shows, for reading and for the keyboard.
import { byId, button, element, integer } from "./dom.js";
import { model, onModel } from "./model.js";
import { change, isFiltered, NO_FILTER, onChange, START, state } from "./state.js";
import { LOOSE, LOOSE_MEANS } from "./colours.js";
import { FIELD } from "./fields.js";
import { swatch } from "./marks.js";
import { nameNodes } from "./names.js";
import { visible } from "./text.js";

const BATCH = 150;
const PAUSE_MS = 120; // after which what is typed is searched for

export function clusterRow(world, id, hover, figure = integer(world.clusters.size.values[id])) {
  const { clusters, map } = world, subset = clusters.subset.values[id];
  const node = button("row", "", () => change({ open: id, panel: "card" }));
  node.setAttribute("aria-label", `Cluster ${id}, ${clusters.size.values[id]} tokens, mostly ${map.subsets[subset]}`);
  const isLoose = clusters.holds.values[id] === 0;
  if (isLoose) { node.classList.add("loose"); node.title = `${LOOSE} ${LOOSE_MEANS}`; }
  node.append(isLoose ? element("span", "", LOOSE) : swatch(subset), element("span", "row-tokens", ...nameNodes(world, id, 4)), element("span", "row-size", figure));
  for (const [enter, leave] of [["pointerenter", "pointerleave"], ["focus", "blur"]]) {
    node.addEventListener(enter, () => hover(id));
    node.addEventListener(leave, () => hover(null));
  }
  return element("li", "", node);
}

// The number at the end of a row is the one that the list is sorted by.
const figure = (world, id) => (["subset", "tops", "name"].includes(state.sort) ? FIELD.size : FIELD[state.sort]).show(world, id, model.tally)[0];

const several = (count, one, many = `${one}s`) => `${integer(count)} ${count === 1 ? one : many}`;

// What the search and the filters leave, in words; the numbers are those of the tokens drawn.
function summary({ map, tokens, clusters }) {
  const { tally, found, clusters: listed } = model, total = map.tokens.total;
  const sample = tokens.count < total ? ` (of ${integer(total)} in the run)` : "";
  if (found) return `${several(tally.matched, "token")} of ${integer(tally.drawn)} drawn${sample} in ${integer(listed.length)} of ${several(clusters.count, "cluster")}`;
  return `${integer(listed.length)} of ${several(clusters.count, "cluster")}, ${integer(tally.drawn)} of ${several(tokens.count, "token")} drawn${sample}`;
}

export function startList(world, hover) {
  const list = byId("list"), more = byId("more");
  let numShown = BATCH;
  const draw = () => {
    const ids = model.clusters.slice(0, numShown);
    const focused = document.activeElement?.closest?.("#list") ? document.activeElement.dataset.id : null;
    list.replaceChildren(...ids.map((id) => {
      const item = clusterRow(world, id, hover, figure(world, id));
      item.firstChild.dataset.id = id;
      return item;
    }));
    if (focused) list.querySelector(`[data-id="${focused}"]`)?.focus();
    if (!ids.length) list.append(element("li", "empty", world.clusters.count ? "No cluster passes the search and the filters." : "No cluster was found in this run."));
    more.hidden = model.clusters.length <= numShown;
    more.textContent = `Show more (${integer(model.clusters.length - numShown)} left)`;
    byId("summary").textContent = summary(world);
    byId("typed").replaceChildren(...(state.query ? ["search: ", element("span", "token", ...visible(state.query)), clearer("clear", { query: "" })] : []),
      ...(isFiltered() ? [element("span", "", "filtered"), clearer("show all", NO_FILTER)] : []));
  };
  const clearer = (name, update) => button("link", name, () => change(update));
  more.addEventListener("click", () => { numShown += BATCH; draw(); });
  byId("sort").addEventListener("change", (event) => change({ sort: event.target.value, descending: null }));
  onModel(({ counted }) => { if (counted) numShown = Math.max(BATCH, Math.min(numShown, BATCH * 8)); draw(); });
  draw();
}

export function startSearch() {
  const box = byId("search");
  let timer = null;
  box.value = state.query;
  const submit = () => {
    clearTimeout(timer);
    timer = null;
    change({ query: box.value, sort: box.value ? "matches" : START.sort, descending: null, panel: "list", open: null });
  };
  box.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(submit, PAUSE_MS); });
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // or the row that gets the focus gets the key as well
    if (timer !== null) submit();
    else change({ panel: "list", open: null });
    const only = /^\s*#\d+\s*$/.test(box.value) && model.clusters.length === 1;
    if (only) change({ open: model.clusters[0], panel: "card" });
    else if (state.view === "clusters") byId("table").focus({ preventScroll: true });
    else byId("list").querySelector("button")?.focus();
  });
  onChange((changed) => {
    if (changed.has("query") && box.value !== state.query) box.value = state.query;
    byId("sort").value = state.sort;
  });
}
