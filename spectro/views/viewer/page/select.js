// A neighbourhood by hand: a box with shift and drag, or a loop with the lasso; and what it holds.
import { extent } from "./colours.js";
import { readMeanProfile } from "./data.js";
import { byId, button, element, fixed, integer, percent, sum, svg } from "./dom.js";
import { clusterRow } from "./list.js";
import { chiPicture, stat, subsetBar } from "./marks.js";
import { model } from "./model.js";
import { selectionName } from "./names.js";
import { change, onChange, state } from "./state.js";
import { token } from "./text.js";

const STEP = 7, MOST_CORNERS = 80, MOST_TOKENS = 30, MOST_CLUSTERS = 100;

export class Lasso {
  constructor(view) {
    Object.assign(this, { view, isOn: false, points: null, stage: byId("stage"), overlay: byId("shape") });
    this.toggle = byId("lasso");
    this.toggle.addEventListener("click", () => this.turn(!this.isOn));
    // before deck.gl sees them: the map must not move under a shape that is being drawn
    const listen = (kind, act) => this.stage.addEventListener(kind, act, { capture: true });
    listen("pointerdown", (event) => this.start(event));
    listen("pointermove", (event) => this.points && this.extend(event));
    listen("pointerup", (event) => this.points && this.finish(event));
    listen("pointercancel", () => { this.points = null; this.draw(); });
    onChange((changed) => { if (changed.has("selection")) this.draw(); });
    this.draw();
  }

  turn(isOn) {
    this.isOn = isOn;
    this.toggle.setAttribute("aria-pressed", String(isOn));
    this.stage.classList.toggle("drawing", isOn);
  }

  here(event) {
    const box = this.view.node.getBoundingClientRect();
    return [event.clientX - box.x, event.clientY - box.y];
  }

  start(event) {
    if (!(this.isOn || event.shiftKey) || event.button || !event.target.closest("#map, #shape")) return;
    event.stopPropagation();
    event.preventDefault();
    this.isBox = event.shiftKey;
    this.points = [this.here(event)];
    this.stage.setPointerCapture(event.pointerId);
  }

  extend(event) {
    event.stopPropagation();
    const here = this.here(event), last = this.points.at(-1), [x, y] = this.points[0];
    if (this.isBox) this.points = [[x, y], [here[0], y], here, [x, here[1]]];
    else if (Math.hypot(here[0] - last[0], here[1] - last[1]) > STEP) this.points.push(here);
    this.draw();
  }

  finish(event) {
    event.stopPropagation();
    const points = this.points, every = Math.ceil(points.length / MOST_CORNERS);
    this.points = null;
    this.turn(false);
    if (points.length < 3) return this.draw();
    const shape = points.filter((_, index) => index % every === 0).map(([x, y]) => this.view.toGrid(x, y).map((value) => Math.min(Math.max(Math.round(value), 0), 65535)));
    change({ selection: { shape }, panel: "selection", open: null });
  }

  draw() {
    const points = this.points ?? state.selection?.shape?.map(([x, y]) => this.view.toScreen(x, y)) ?? [];
    this.overlay.replaceChildren(...(points.length ? [svg("polygon", { points: points.map((point) => point.join(",")).join(" ") })] : []));
  }
}

// Least and most of what is known of the clusters.
function fromTo(values, digits) {
  const span = extent(values.filter((value) => !Number.isNaN(value)));
  if (!span) return "–";
  return span[0] === span[1] ? fixed(span[0], digits) : `${fixed(span[0], digits)} to ${fixed(span[1], digits)}`;
}

// Numbers of the selection; those of tokens outside its clusters where there are such.
function numbers({ clusters }, ids, tally) {
  const of = (name) => ids.map((id) => clusters[name].values[id]);
  const outside = [
    [tally.selectedLoose, "in no cluster", "Selected tokens, of those drawn, that are in no cluster"],
    [tally.selectedElsewhere, "of other clusters", "Selected tokens, of those drawn, whose cluster's ring is outside the shape"],
    [tally.selectedAssigned, "assigned later", "Selected tokens, of those drawn, that were added after the clusters were found"],
  ].filter(([count]) => count);
  return element("div", "stats",
    stat(integer(sum(of("size"))), "members", "Tokens of these clusters, drawn or not; one in two of them counts twice"),
    stat(fromTo(of("conductance"), 3), "conductance", "Least and largest of these clusters: lower is better separated"),
    stat(fromTo(of("stability"), 2), "stability", "Least and largest of these clusters; – not known"),
    ...outside.map(([count, name, help]) => stat(integer(count), name, help)));
}

// The profile is read once for the same clusters, however often tokens are counted again.
const mean = { of: null, figure: element("figure", "chi") };

function meanChi(world, ids) {
  const { figure } = mean, wanted = ids.join();
  if (mean.of === wanted) return figure;
  mean.of = wanted;
  figure.replaceChildren(element("p", "empty", ids.length ? "…" : "No cluster has its ring here, so there is no mean χ."));
  const show = (...nodes) => { if (mean.of === wanted) figure.replaceChildren(...nodes); };
  if (ids.length) readMeanProfile(world, ids).then((values) => show(...chiPicture(values, world.map.components)), (error) => { show(element("p", "empty", error.message)); mean.of = null; });
  return figure;
}

// From a shape to the clusters that it holds: their tokens alone, wherever they are.
function narrower(ids) {
  if (!state.selection.shape || !ids.length || ids.length > MOST_CLUSTERS) return "";
  return button("action", "Select these clusters alone", () => change({ selection: { clusters: [...ids].sort((a, b) => a - b) } }));
}

// Clusters of the selection and all that have tokens in it: share of the selected tokens in each,
// and share of its tokens that are selected.
function madeOf(world, { selected, selectedFlags, selectedOf, drawnOf }, hover) {
  const size = (id) => world.clusters.size.values[id];
  const ids = [...selectedOf.keys()].filter((id) => selectedOf[id] || selectedFlags[id])
    .sort((a, b) => selectedOf[b] - selectedOf[a] || size(b) - size(a) || a - b);
  const figure = (id) => `${percent(selectedOf[id] / Math.max(1, selected))} · ${percent(drawnOf[id] ? selectedOf[id] / drawnOf[id] : NaN)}`;
  const more = ids.length > MOST_CLUSTERS ? `the ${MOST_CLUSTERS} largest parts of ${integer(ids.length)}; ` : "";
  return [
    element("h3", "", "Clusters", element("small", "", `${more}share of the selected tokens in it · share of its tokens that are selected`)),
    element("ol", "list", ...ids.slice(0, MOST_CLUSTERS).map((id) => clusterRow(world, id, hover, figure(id)))),
  ];
}

export function drawSelection(world, hover) {
  const panel = byId("selection"), { tally } = model;
  if (!state.selection) return panel.replaceChildren();
  const clusters = [...tally.selectedFlags.keys()].filter((id) => tally.selectedFlags[id])
    .sort((a, b) => world.clusters.size.values[b] - world.clusters.size.values[a]);
  const counts = tally.selectedToken, tokens = [];
  counts.forEach((count, id) => { if (count) tokens.push([id, count]); });
  tokens.sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  const name = state.selection.shape ? "Tokens inside the shape" : "Tokens of these clusters";
  panel.replaceChildren(
    element("div", "card-head", element("h2", "", "Neighbourhood"), button("close", "×", () => change({ selection: null, panel: "list" }))),
    element("p", "help", `A neighbourhood is a few nearby clusters, looked at as one: ${clusters.length} clusters, ${integer(tally.selected)} of the tokens drawn.`),
    ...selectionName(world, tally, state.selection), numbers(world, clusters, tally),
    element("h3", "", "Mean χ by component", element("small", "", "of these clusters, weighted by their sizes")), meanChi(world, clusters),
    element("h3", "", name, element("small", "", tokens.length > MOST_TOKENS ? `the ${MOST_TOKENS} most common of ${integer(tokens.length)}` : "")),
    element("div", "tops", ...tokens.slice(0, MOST_TOKENS).map(([id, count]) => element("span", "top", token(id), element("small", "", integer(count))))),
    element("h3", "", "Subsets"), ...subsetBar(world.map.subsets, [...tally.selectedSubset]),
    ...madeOf(world, tally, hover), narrower(clusters));
  panel.querySelector(".close").setAttribute("aria-label", "Drop the selection");
}
