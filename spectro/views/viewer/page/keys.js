// The keyboard: everything that the pointer can do on the map and in the lists.
import { byId } from "./dom.js";
import { model } from "./model.js";
import { SCALE } from "./scene.js";
import { change, state } from "./state.js";

const STEP = 90;

const ON_MAP = {
  ArrowLeft: (view) => view.panBy(-STEP, 0), ArrowRight: (view) => view.panBy(STEP, 0),
  ArrowUp: (view) => view.panBy(0, STEP), ArrowDown: (view) => view.panBy(0, -STEP),
  Enter: (view) => openNearest(view),
};

const EVERYWHERE = {
  "+": (view) => view.zoomBy(0.6), "=": (view) => view.zoomBy(0.6), "-": (view) => view.zoomBy(-0.6), 0: (view) => view.showAll(),
};

// The cluster nearest to the middle of the map, of those that are drawn.
function openNearest(view) {
  const { clusters } = view.world, [x, y] = [view.at.x * SCALE, view.at.y * SCALE];
  let best = null, least = Infinity;
  for (const id of view.scene.bySize) {
    if (!model.pass.clusters[id]) continue;
    const distance = Math.hypot(clusters.x.values[id] - x, clusters.y.values[id] - y);
    if (distance < least) [best, least] = [id, distance];
  }
  if (best !== null) change({ open: best, panel: "card" });
}

// Closes what is on top: the card, the selection, then the search.
function escape() {
  if (state.panel === "card") return change({ open: null, panel: state.selection ? "selection" : "list" });
  if (state.panel === "selection" || state.selection) return change({ selection: null, panel: "list" });
  if (state.query) change({ query: "" });
}

function walk(list, event) {
  const rows = [...list.querySelectorAll("button.row, .context")], at = rows.indexOf(document.activeElement);
  const next = rows[at + (event.key === "ArrowDown" ? 1 : -1)];
  if (!next) return;
  event.preventDefault();
  next.focus();
}

// tools() gives { view, lasso } as they are by then: null until the map draws, and where it cannot.
export function startKeys(tools) {
  addEventListener("keydown", (event) => {
    const { view, lasso } = tools();
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    const focus = document.activeElement, isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(focus.tagName) && focus.type !== "checkbox";
    if (event.key === "Escape") {
      if (isTyping) focus.blur();
      return escape();
    }
    if (isTyping) return;
    const list = focus.closest("ol"), isMap = state.view === "map", isOnMap = isMap && (focus === document.body || focus.closest("#stage") !== null);
    if (list && /^Arrow(Up|Down)$/.test(event.key)) return walk(list, event);
    const act = isOnMap && ON_MAP[event.key] && !(event.key === "Enter" && focus.tagName === "BUTTON") ? ON_MAP[event.key] : isMap && EVERYWHERE[event.key];
    const others = { "/": () => byId("search").focus(), "?": () => byId("help").showModal(), s: () => lasso?.turn(!lasso.isOn) };
    const run = others[event.key] ?? (act && view ? () => act(view) : null);
    if (!run) return;
    event.preventDefault();
    run();
  });
}
