// Where the map is looked at from, and how much is drawn: while the view moves or tokens arrive only
// as many blocks of them as fit a frame (a prefix of their random order, so a sample), at rest all.
import { scriptElement } from "./data.js";
import { byId } from "./dom.js";
import { pointsLayer } from "./points.js";
import { MOST_BLOCKS, Scene, SCALE, SIDE } from "./scene.js";
import { change, state } from "./state.js";

const PAD = 34, MIN_ZOOM = -3, MAX_ZOOM = 9;
const LEAST_SPAN = SIDE / 16; // so that a lonely token is not all that one sees
const REST_MS = 180, GLIDE_MS = 260, WORK_MS = 10, SHOW_MS = 250;
const SLOW_FRAME_MS = 34, FAST_FRAME_MS = 18;
const SLOW_PICK_MS = 300;
const MOVING_TOKENS = { first: 200_000, least: 20_000 };
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
// A place near the map, whatever an address says.
const near = ({ x, y, zoom }) => ({ x: clamp(x, -SIDE, 2 * SIDE), y: clamp(y, -SIDE, 2 * SIDE), zoom: clamp(zoom, MIN_ZOOM, MAX_ZOOM) });

export class View {
  constructor(world, library, listeners) {
    Object.assign(this, { world, library, listeners, frames: 0, isMoving: false, isPartial: true, pickBlocks: MOST_BLOCKS, isPicking: false, budget: MOVING_TOKENS.first });
    this.node = byId("map");
    this.scene = new Scene(world, library);
    this.at = near(this.wanted());
    this.deck = new library.Deck({
      parent: this.node, views: new library.OrthographicView({ id: "map", flipY: false, controller: { keyboard: false, inertia: 200, dragRotate: false } }),
      initialViewState: this.viewState(), useDevicePixels: Math.min(devicePixelRatio || 1, 2), layers: [],
      layerFilter: ({ layer, isPicking }) => this.isShown(layer, isPicking),
      getCursor: ({ isDragging }) => (isDragging ? "grabbing" : this.scene.hover === null ? "grab" : "pointer"),
      onViewStateChange: ({ viewState }) => { this.glide = null; this.fitting = false; this.moved(viewState.target[0], viewState.target[1], zoomOf(viewState)); },
      onAfterRender: () => this.drawn(), onClick: (_, event) => listeners.click(event.offsetCenter),
      onLoad: () => listeners.ready(), onError: (error) => listeners.failed(error),
    });
    this.watch = new ResizeObserver(() => { if (!state.place) this.jump(this.wanted()); listeners.moved(this); });
    this.watch.observe(this.node);
  }

  // For a view that could not start: nothing may ask deck.gl to draw any more.
  end() { this.watch.disconnect(); }

  // The place of the state, or the one that shows all.
  wanted() {
    if (state.place) return { x: state.place.x / SCALE, y: state.place.y / SCALE, zoom: state.place.zoom };
    const { clientWidth, clientHeight } = this.node, covered = covers(clientWidth), [left, low, right, high] = this.scene.span();
    const fitting = (room, length) => Math.log2(Math.max(room - 2 * PAD, 50) / Math.max(length, LEAST_SPAN));
    const zoom = Math.min(fitting(clientWidth - covered, right - left), fitting(clientHeight, high - low));
    return { x: (left + right) / 2 - covered / 2 / 2 ** zoom, y: (low + high) / 2, zoom };
  }

  viewState() {
    // without the number deck.gl takes an equal wish for the one that it has already followed
    this.wishes = (this.wishes ?? 0) + 1;
    return { target: [this.at.x, this.at.y, 0], zoom: this.at.zoom, minZoom: MIN_ZOOM, maxZoom: MAX_ZOOM, wish: this.wishes };
  }

  isShown(layer, isPicking) {
    if (isPicking && !this.isPicking) return false; // only what pick() asks for
    const match = /^tokens-(\d+)$/.exec(layer.id);
    return !match || !(this.isMoving || this.isPartial) || Number(match[1]) * this.scene.blockRows < this.budget;
  }

  jump(to) {
    this.at = near(to);
    this.deck.setProps({ initialViewState: this.viewState() });
    this.listeners.moved(this);
  }

  // A short ride, or a jump for those who want no motion.
  go(to) {
    const from = { ...this.at }, start = performance.now();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) { this.jump(to); return this.moved(this.at.x, this.at.y, this.at.zoom); }
    const ride = this.glide = (now) => {
      if (this.glide !== ride) return;
      const share = Math.min(Math.max((now - start) / GLIDE_MS, 0), 1), eased = share * (2 - share);
      const between = (name) => from[name] + (to[name] - from[name]) * eased;
      this.jump({ x: between("x"), y: between("y"), zoom: between("zoom") });
      this.moved(this.at.x, this.at.y, this.at.zoom);
      if (share < 1) requestAnimationFrame(ride); else this.glide = null;
    };
    requestAnimationFrame(ride);
  }

  zoomBy(step) { this.fitting = false; this.go({ ...this.at, zoom: this.at.zoom + step }); }

  panBy(dx, dy) {
    const unit = 2 ** -this.at.zoom;
    this.fitting = false;
    this.go({ ...this.at, x: this.at.x + dx * unit, y: this.at.y + dy * unit });
  }

  // Tokens have come: the view of all follows, unless someone has moved it.
  refit() {
    const span = this.scene.span().join();
    if (span === this.spanSeen || state.place || this.isMoving || this.glide) return;
    this.spanSeen = span;
    this.jump(this.wanted());
  }

  showAll() {
    change({ place: null });
    this.follow();
  }

  // To where the state says.
  follow() {
    this.fitting = !state.place;
    this.go(this.wanted());
  }

  moved(x, y, zoom) {
    this.at = { x, y, zoom };
    this.isMoving = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.rest(), REST_MS);
    this.listeners.moved(this);
  }

  rest() {
    if (this.glide) return; // a ride has begun meanwhile, and rests at its own end
    this.isMoving = false;
    this.lastFrame = null;
    this.deck.redraw("at rest");
    const { x, y, zoom } = this.at;
    if (!this.fitting) change({ place: { x: Math.round(x * SCALE), y: Math.round(y * SCALE), zoom: Number(zoom.toFixed(2)) } });
    this.fitting = false;
    this.listeners.rested(this);
  }

  // Frames that come late mean fewer tokens in the next, frames in time mean more.
  drawn() {
    const now = performance.now(), took = now - (this.lastFrame ?? now);
    this.frames++;
    this.lastFrame = this.isMoving || this.isPartial ? now : null;
    if (!took || took > 1000) return;
    if (took > SLOW_FRAME_MS) this.budget = Math.max(MOVING_TOKENS.least, this.budget * 0.7);
    else if (took < FAST_FRAME_MS) this.budget = Math.min(this.world.tokens.count + 1, this.budget * 1.15);
  }

  // Draw what the state says; blocks that have to be made anew come a few at a time.
  update() {
    if (this.updating) return;
    this.updating = true;
    requestAnimationFrame(() => this.fill(performance.now()));
  }

  fill(shown) {
    const isMore = this.scene.work(WORK_MS), now = performance.now();
    const { loaded, count } = this.world.tokens, wasPartial = this.isPartial;
    this.isPartial = isMore || loaded < count;
    if (!isMore || now - shown > SHOW_MS) this.deck.setProps({ layers: this.scene.layers() });
    if (isMore) return setTimeout(() => this.fill(now - shown > SHOW_MS ? now : shown));
    this.updating = false;
    if (wasPartial && !this.isPartial) this.deck.redraw("all are there");
  }

  isBusy() { return Boolean(this.updating || this.isMoving || this.glide); }

  hover(cluster) {
    if (this.scene.hover === cluster) return;
    this.scene.hover = cluster;
    this.update();
  }

  // { cluster, token } under a point of the map; −1 where there is none.
  pick(x, y) {
    const start = performance.now();
    this.isPicking = true;
    try {
      const under = (radius, ids) => this.deck.pickObject({ x, y, radius, layerIds: ids });
      const pickable = this.scene.blocks.map((_, index) => `tokens-${index}`).slice(0, this.pickBlocks);
      const disc = under(0, ["clusters"]), point = under(4, pickable);
      const row = (info) => (info && info.index >= 0 ? info.layer.props.data.rows[info.index] : -1);
      return { cluster: row(disc), token: row(point) };
    } finally {
      this.isPicking = false;
      // picking draws the tokens again: where that is slow, fewer of them
      const took = performance.now() - start, { length } = this.scene.blocks;
      if (took > SLOW_PICK_MS) this.pickBlocks = Math.max(1, Math.ceil(Math.min(this.pickBlocks, length) / 2));
      else if (took < SLOW_PICK_MS / 4) this.pickBlocks = Math.min(this.pickBlocks * 2, MOST_BLOCKS);
    }
  }

  // From the grid to the screen and back.
  toScreen(x, y) {
    const scale = 2 ** this.at.zoom, { clientWidth, clientHeight } = this.node;
    return [(x / SCALE - this.at.x) * scale + clientWidth / 2, clientHeight / 2 - (y / SCALE - this.at.y) * scale];
  }

  toGrid(left, top) {
    const scale = 2 ** this.at.zoom, { clientWidth, clientHeight } = this.node;
    return [(this.at.x + (left - clientWidth / 2) / scale) * SCALE, (this.at.y - (top - clientHeight / 2) / scale) * SCALE];
  }

  closer(id) {
    const { x, y } = this.world.clusters;
    this.fitting = false;
    this.go({ x: x.values[id] / SCALE, y: y.values[id] / SCALE, zoom: this.at.zoom + 1 });
  }

  // Moves only if the cluster is not to be seen.
  showCluster(id) {
    const { x, y } = this.world.clusters, [left, top] = this.toScreen(x.values[id], y.values[id]);
    const { clientWidth, clientHeight } = this.node, edge = 60;
    const isSeen = left > edge && top > edge && left < clientWidth - edge && top < clientHeight - edge;
    if (isSeen) return;
    this.fitting = false;
    this.go({ x: x.values[id] / SCALE, y: y.values[id] / SCALE, zoom: Math.max(this.at.zoom, this.wanted().zoom) });
  }
}

// Pixels at the left under the open filters, where there is room beside them.
function covers(width) {
  const { open, offsetWidth } = byId("controls");
  return open && width > 2.2 * offsetWidth ? offsetWidth : 0;
}

const zoomOf = ({ zoomX, zoom }) => zoomX ?? (Array.isArray(zoom) ? zoom[0] : zoom);

// Whether this browser draws with WebGL2.
export function canDraw() {
  try {
    return Boolean(document.createElement("canvas").getContext("webgl2"));
  } catch {
    return false;
  }
}

// deck.gl as one script, which leaves its classes in globalThis.deck and luma; and our own layer.
export async function loadLibrary() {
  const script = await scriptElement("deck.js");
  if (script.src) await new Promise((resolve, reject) => {
    script.addEventListener("load", resolve);
    script.addEventListener("error", () => reject(new Error("deck.js: expected deck.gl's script, found none: was the folder copied whole?")));
    document.head.append(script);
  });
  else document.head.append(script);
  const { deck, luma } = globalThis;
  if (!deck?.Deck || !luma?.Model) throw new Error("deck.js: expected deck.gl, found something else: was the folder copied whole?");
  return { ...deck, PointsLayer: pointsLayer(deck, luma) };
}
