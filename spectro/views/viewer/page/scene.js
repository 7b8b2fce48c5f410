// From tokens and clusters to deck.gl's layers. One unit of the drawing is SCALE units of the grid.
import { clusterColours, opacity, readInk } from "./colours.js";
import { homeOf, isDrawn } from "./filters.js";
import { model } from "./model.js";
import { state } from "./state.js";

export const SCALE = 64;
export const SIDE = 1024;
const BLOCK_ROWS = 1 << 16;
export const MOST_BLOCKS = 128; // a layer each; deck.gl distinguishes 255 when it picks
const FLAT = { depthCompare: "always", depthWriteEnabled: false };
const AREA_OF_DISCS = 0.12; // of the map's, at most
const LARGEST_DISC = 42;
const LINE = { plain: 1.5, heavy: 3.5 }; // pixels of a ring; the hues of the heavy ones are repeated

export class Scene {
  constructor(world, library) {
    Object.assign(this, { world, library, blocks: [], version: 0, hover: null });
    this.blockRows = Math.max(BLOCK_ROWS, Math.ceil(world.tokens.count / MOST_BLOCKS));
    this.bySize = Array.from({ length: world.clusters.count }, (_, id) => id)
      .sort((a, b) => world.clusters.size.values[b] - world.clusters.size.values[a]);
    this.radii = radii(world);
    this.dimmed = world.tokens.count > 1e5 ? 0.06 : 0.2; // where many overlap, each has to be fainter
    this.repaint();
  }

  // Colours or filters have changed: every block is made anew, a few per frame.
  repaint() {
    this.ink = readInk();
    this.colours = clusterColours(this.world, state.colour, this.ink);
    this.version++;
    this.clusterLayers = null;
  }

  // Makes blocks that are missing or out of date until the time is used up; true if some are left.
  work(budgetMs) {
    const { loaded, count } = this.world.tokens, until = performance.now() + budgetMs;
    for (let start = 0, index = 0; start < loaded; start += this.blockRows, index++) {
      const end = Math.min(start + this.blockRows, loaded);
      if (end < start + this.blockRows && loaded < count) continue; // the rest of it is on its way
      if (this.blocks[index]?.version === this.version) continue;
      if (performance.now() > until) return true;
      const data = this.points(this.rowsOf(start, end));
      this.blocks[index] = { start, version: this.version, data, layers: new Map() };
    }
    return false;
  }

  // [left, low, right, high] of clusters, outlines and the first block of tokens, which is a random
  // sample of all: outliers may be in the margin.
  span() {
    const { tokens, clusters, regions } = this.world, used = Math.min(tokens.loaded, BLOCK_ROWS);
    if (this.spanned?.used === used) return this.spanned.box;
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    const add = (x, y) => {
      box[0] = Math.min(box[0], x); box[1] = Math.min(box[1], y);
      box[2] = Math.max(box[2], x); box[3] = Math.max(box[3], y);
    };
    for (let id = 0; id < clusters.count; id++) add(clusters.x.values[id], clusters.y.values[id]);
    for (const region of regions) for (const [x, y] of region.outline) add(x, y);
    for (let i = 0; i < used; i++) add(tokens.x[i], tokens.y[i]);
    this.spanned = { used, box: box[0] <= box[2] ? box.map((value) => value / SCALE) : [0, 0, SIDE, SIDE] };
    return this.spanned.box;
  }

  rowsOf(start, end) {
    const { cluster, subset } = this.world.tokens, rows = new Uint32Array(end - start);
    let length = 0;
    for (let i = start; i < end; i++) if (isDrawn(model.pass, cluster[i], subset[i])) rows[length++] = i;
    return rows.subarray(0, length);
  }

  points(rows, isLit = false) {
    const { x, y, cluster, subset, count } = this.world.tokens, { hues, faint } = this.ink;
    const [inside, outside] = isLit ? [255, 255] : opacity(count);
    const positions = new Float32Array(2 * rows.length), colours = new Uint8Array(4 * rows.length);
    const bySubset = state.colour === "subset";
    for (let n = 0; n < rows.length; n++) {
      const i = rows[n], own = cluster[i], at = 4 * n;
      positions[2 * n] = x[i] / SCALE;
      positions[2 * n + 1] = y[i] / SCALE;
      const isDiamond = bySubset && subset[i] >= hues.length;
      const home = homeOf(own), colour = bySubset ? hues[subset[i] % hues.length] : faint;
      for (let c = 0; c < 3; c++) colours[at + c] = bySubset || home < 0 ? colour[c] : this.colours[3 * home + c];
      colours[at + 3] = ((own < 0 ? outside : inside) & 254) | Number(isDiamond); // as points.js reads it
    }
    return { rows, length: rows.length, attributes: { getPosition: { value: positions, size: 2 }, getFillColor: { value: colours, size: 4, normalized: true } } };
  }

  layers() {
    const isLit = Boolean(model.found || state.selection), dim = isLit ? this.dimmed : state.open !== null ? 0.55 : 1;
    const tokens = this.blocks.map((block, index) => this.tokenLayer(block, index, dim));
    return [...this.regionLayers(), ...tokens, this.litLayer(), this.clusterLayer(isLit), ...this.focusLayers()];
  }

  tokenLayer(block, index, dim) {
    if (!block.layers.has(dim)) block.layers.set(dim, this.scatter(`tokens-${index}`, block.data, { opacity: dim, pickable: true }));
    return block.layers.get(dim);
  }

  scatter(id, data, more) {
    const { count } = this.world.tokens, small = count > 1e6 ? 0.8 : count > 1e5 ? 1.1 : count > 2e4 ? 1.5 : 2;
    return new this.library.PointsLayer({ id, data, radius: 0.35, radiusMinPixels: small, radiusMaxPixels: 7, parameters: FLAT, ...more });
  }

  litLayer() {
    const { lit } = model.tally, small = this.world.tokens.count > 1e5 ? 2 : 3;
    if (this.litOf !== lit || this.litVersion !== this.version) Object.assign(this, { litOf: lit, litVersion: this.version, litData: this.points(lit, true) });
    return this.scatter("lit", this.litData, { radiusMinPixels: small });
  }

  clusterLayer(isSearching) {
    const { tally, found, pass } = model;
    if (this.clusterLayers?.tally === tally && this.clusterLayers.version === this.version) return this.clusterLayers.layer;
    const rows = this.bySize.filter((id) => pass.clusters[id]);
    const isLit = (id) => tally.selectedFlags[id] || (found && (found.clusters[id] || (found.vocabulary && tally.matchesOf[id])));
    const layer = this.rings("clusters", rows, (id) => (isSearching && !isLit(id) ? 0.15 : 1), { pickable: true });
    this.clusterLayers = { tally, version: this.version, layer };
    return layer;
  }

  rings(id, rows, strength, more) {
    const { x, y } = this.world.clusters, fill = new Uint8Array(4 * rows.length), line = new Uint8Array(4 * rows.length);
    const positions = new Float32Array(2 * rows.length), radius = new Float32Array(rows.length), width = new Float32Array(rows.length);
    const isHeavy = (own) => state.colour === "subset" && this.world.clusters.subset.values[own] >= this.ink.hues.length;
    rows.forEach((own, n) => {
      width[n] = isHeavy(own) ? LINE.heavy : LINE.plain;
      positions.set([x.values[own] / SCALE, y.values[own] / SCALE], 2 * n);
      radius[n] = this.radii[own];
      for (const [array, alpha] of [[fill, 34], [line, 235]]) array.set([...this.colours.subarray(3 * own, 3 * own + 3), alpha * strength(own)], 4 * n);
    });
    return new this.library.ScatterplotLayer({ id, radiusUnits: "common", radiusMinPixels: 3, radiusMaxPixels: 64, stroked: true,
      lineWidthUnits: "pixels", parameters: FLAT, ...more,
      data: { rows, length: rows.length, attributes: { getPosition: { value: positions, size: 2 }, getRadius: { value: radius, size: 1 }, getLineWidth: { value: width, size: 1 },
        getFillColor: { value: fill, size: 4, normalized: true }, getLineColor: { value: line, size: 4, normalized: true } } } });
  }

  // The open and the hovered cluster, and lines to the neighbours of the open one.
  focusLayers() {
    const { clusters } = this.world, ids = [...new Set([state.open, this.hover].filter((id) => id !== null))];
    const place = (id) => [clusters.x.values[id] / SCALE, clusters.y.values[id] / SCALE];
    const near = state.open === null ? [] : [...clusters.neighbours.values.subarray(state.open * clusters.neighbours.width, (state.open + 1) * clusters.neighbours.width)];
    const colour = [...this.ink.accent, 255];
    return [
      new this.library.LineLayer({ id: "near", data: near.filter((id) => id >= 0), getSourcePosition: () => place(state.open), getTargetPosition: place,
        getColor: [...this.ink.accent, 140], getWidth: 1.2, parameters: FLAT, updateTriggers: { getSourcePosition: state.open } }),
      new this.library.ScatterplotLayer({ id: "focus", data: ids, getPosition: place, getRadius: (id) => this.radii[id], radiusUnits: "common",
        radiusMinPixels: 6, radiusMaxPixels: 66, stroked: true, filled: false, getLineColor: colour, lineWidthUnits: "pixels", getLineWidth: 3, parameters: FLAT }),
    ];
  }

  regionLayers() {
    if (this.regionKey === `${this.version} ${state.region}`) return this.outlines;
    this.regionKey = `${this.version} ${state.region}`;
    const outlined = this.world.regions.filter((region) => region.outline.length > 2 && (state.region === null || region.id === state.region));
    const ring = (region) => region.outline.map(([x, y]) => [x / SCALE, y / SCALE]);
    const colour = (region, alpha) => [...(state.colour === "region" ? this.ink.hues[region.id % this.ink.hues.length] : this.ink.faint), alpha];
    const triggers = { getFillColor: [this.version], getLineColor: [this.version] };
    this.outlines = [new this.library.PolygonLayer({ id: "regions", data: outlined, getPolygon: ring, getFillColor: (region) => colour(region, 16), stroked: true,
      getLineColor: (region) => colour(region, 130), lineWidthUnits: "pixels", getLineWidth: 1.2, parameters: FLAT, updateTriggers: triggers })];
    return this.outlines;
  }
}

// Area by size, in units of the drawing; all discs together cover a small part of the map.
function radii({ clusters: { size, count } }) {
  let total = 0, largest = 1;
  for (let id = 0; id < count; id++) { total += size.values[id]; largest = Math.max(largest, size.values[id]); }
  const perToken = Math.min((AREA_OF_DISCS * SIDE * SIDE) / (Math.PI * Math.max(total, 1)), (LARGEST_DISC * LARGEST_DISC) / largest);
  return Float32Array.from({ length: count }, (_, id) => Math.sqrt(perToken * size.values[id]));
}
