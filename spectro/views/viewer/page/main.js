// Reads the objects, builds the page, keeps state, map and address together.
import { decode, encode, VIEWS } from "./address.js";
import { drawCard } from "./card.js";
import { startControls } from "./controls.js";
import { isOneFile, readMap, readTokens } from "./data.js";
import { byId, hideTooltip, integer, sum } from "./dom.js";
import { drawFound } from "./found.js";
import { Hover } from "./hover.js";
import { startKeys } from "./keys.js";
import { drawLabels } from "./labels.js";
import { startList, startSearch } from "./list.js";
import { startMaps } from "./maps.js";
import { model, onModel, startModel } from "./model.js";
import { drawReliability } from "./reliability.js";
import { drawRun } from "./run.js";
import { drawSelection, Lasso } from "./select.js";
import { change, onChange, START, state, touches } from "./state.js";
import { startTable } from "./table.js";
import { glyphs, setVocabulary } from "./text.js";
import { startTheme } from "./theme.js";
import { drawControl } from "./versus.js";
import { canDraw, loadLibrary, View } from "./view.js";

const page = document.documentElement;
let view = null, hover = null, lasso = null; // of the map, where there is one

function problem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = false;
}

// Regions as the page uses them: size in clusters, name with and without marks.
function prepare(world) {
  const sizes = new Map();
  for (const region of world.clusters.count ? world.clusters.region.values : []) sizes.set(region, (sizes.get(region) ?? 0) + 1);
  for (const region of world.regions) Object.assign(region, { plain: glyphs(region.name ||= `region ${region.id}`), size: sizes.get(region.id) ?? 0 });
  return { numClusters: world.clusters.count, numSubsets: world.map.subsets.length, regionIds: new Set(world.regions.map((region) => region.id)) };
}

// Where clusters overlap the page says how their tokens are counted.
function tellOverlap({ map, clusters }) {
  const isOverlapping = clusters.count > 0 && sum(clusters.size.values) > (map.clusters.tokens ?? Infinity);
  for (const node of document.querySelectorAll(".overlap")) node.hidden = !isOverlapping;
}

function startAddress(limits) {
  let written = location.hash, isFollowing = false;
  onChange((changed) => {
    const address = `#${encode(state)}`;
    if (address === written || (address === "#" && !written)) return;
    written = address;
    // an address that was followed is put in the page's own spelling, in its place: Back must leave it
    const isNew = !isFollowing && touches(changed, "open", "selection");
    history[isNew ? "pushState" : "replaceState"](null, "", address === "#" ? location.pathname + location.search : address);
  });
  const follow = () => {
    if (location.hash === written) return;
    written = location.hash;
    isFollowing = true;
    change(decode(location.hash, limits));
    isFollowing = false;
    view?.follow();
  };
  addEventListener("popstate", follow);
  addEventListener("hashchange", follow);
}

// The views, one at a time above the map; the panel is beside the map, and where it has a card.
function startViews() {
  const links = byId("views").children;
  const show = () => {
    for (const name of VIEWS.slice(1)) byId(`${name}-view`).hidden = state.view !== name;
    for (const link of links) link.setAttribute("aria-current", String(link.dataset.view === state.view));
    byId("stage").inert = state.view !== "map";
    byId("main").dataset.view = state.view;
    byId("panel").hidden = state.view !== "map" && state.panel === "list";
  };
  for (const link of links) link.addEventListener("click", () => { hideTooltip(); change({ view: link.dataset.view }); });
  onChange((changed) => { if (touches(changed, "view", "panel")) show(); });
  show();
}

function startPanel(world, actions) {
  const show = () => {
    for (const name of ["list", "card", "selection"]) byId(`${name}-panel`).hidden = state.panel !== name;
  };
  onChange((changed) => {
    if (changed.has("open")) drawCard(world, actions.hover, actions.show);
    if (touches(changed, "panel", "open")) show();
    if (changed.has("open") && state.open !== null) {
      actions.reveal(state.open);
      if (document.activeElement.id !== "table") byId("card").querySelector("h2").focus({ preventScroll: true });
      if (matchMedia("(max-width: 760px)").matches) byId("panel").scrollIntoView(); // it is below the map
    }
  });
  onModel(({ counted }) => { if (counted) drawSelection(world, actions.hover); });
  drawCard(world, actions.hover, actions.show);
  drawSelection(world, actions.hover);
  show();
}

// The view once deck.gl is ready; null, and a sentence in its place, where it cannot start.
function startView(world, library) {
  return new Promise((resolve) => {
    let started = null, isReady = false;
    const failed = (error) => {
      noMap(`The map cannot be drawn: ${error.message}; the list, the search and the cards work without it.`);
      if (isReady) return;
      started?.end();
      resolve(null);
    };
    try {
      started = new View(world, library, {
        ready: () => { isReady = true; resolve(started); }, failed, rested: () => {},
        moved: () => { if (view) { drawLabels(view); lasso?.draw(); } }, click: (point) => hover?.click(point),
      });
    } catch (error) {
      failed(error);
    }
  });
}

async function startMap(world) {
  if (!canDraw()) return noMap("This browser draws no WebGL2, so there is no map; the list, the search and the cards work without it.");
  const library = await loadLibrary().catch((error) => noMap(error.message));
  if (!library) return;
  view = await startView(world, library);
  if (!view) return;
  hover = new Hover(world, view);
  lasso = new Lasso(view);
  view.refit(); // to what has come meanwhile
  onModel(({ filtered }) => { if (filtered) view.scene.repaint(); view.update(); drawLabels(view); });
  onChange((changed) => {
    if (changed.has("colour")) view.scene.repaint();
    view.update();
    if (touches(changed, "open", "colour")) drawLabels(view);
  });
  for (const [id, act] of Object.entries({ "zoom-in": () => view.zoomBy(0.6), "zoom-out": () => view.zoomBy(-0.6), "zoom-all": () => view.showAll() })) byId(id).addEventListener("click", act);
  view.update();
  drawLabels(view);
}

function noMap(text) {
  byId("no-map").textContent = text;
  byId("no-map").hidden = false;
  page.dataset.map = "none";
}

async function readAll(world, recount) {
  const line = byId("progress");
  const report = () => {
    const { loaded, count } = world.tokens;
    line.textContent = loaded < count ? `${integer(loaded)} of ${integer(count)} tokens` : "";
    line.hidden = loaded >= count;
    recount();
    view?.update();
    view?.refit();
  };
  report();
  await readTokens(world, report);
  page.dataset.loaded = "true";
}

async function start() {
  const world = await readMap();
  setVocabulary(world.vocabulary);
  const limits = prepare(world);
  tellOverlap(world);
  Object.assign(state, START, decode(location.hash, limits));
  byId("title").textContent = world.map.title;
  document.title = `${world.map.title} · spectro`;
  const recount = startModel(world);
  const actions = { hover: (id) => view?.hover(id), reveal: (id) => view?.showCluster(id), show: (id) => { change({ view: "map" }); byId("stage").scrollIntoView(); view?.closer(id); } };
  startTheme(() => { view?.scene.repaint(); view?.update(); });
  startMaps(world);
  startSearch();
  startControls(world);
  startList(world, actions.hover);
  startTable(world, actions.hover);
  startPanel(world, actions);
  startViews();
  for (const draw of [drawFound, drawReliability, drawControl, drawRun]) draw(world);
  byId("waiting").hidden = true;
  startAddress(limits);
  startKeys(() => ({ view, lasso }));
  byId("help-open").addEventListener("click", () => byId("help").showModal());
  const reading = readAll(world, recount).catch((error) => problem(error.message));
  await startMap(world);
  globalThis.spectroMap = { state, start: START, change, model, world, view, isSettled: () => !recount.isDue() && !view?.isBusy() }; // for the console, and for tests
  page.dataset.ready = "true";
  await reading;
}

if (location.protocol === "file:" && !isOneFile) problem("Opened from a disk, where browsers let no page read its data. Serve the folder: spectro map <run> serve=0, or python -m http.server in it.");
else start().catch((error) => { byId("waiting").hidden = true; problem(error.message); });
