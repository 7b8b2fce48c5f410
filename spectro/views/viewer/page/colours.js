// Colours of tokens and clusters: the eight hues of the marks, repeated; quantities on a ramp of
// rising lightness.
import { fixed } from "./dom.js";
import { NUM_COLOURS } from "./marks.js";

const NUM_STOPS = 5;
export const LOOSE = "◌"; // marks a cluster that does not hold
export const LOOSE_MEANS = "does not hold: other seeds of the same χ do not find it again (Jaccard below 0.5), or other draws do not know it";
export const MODES = {
  subset: "subset", cluster: "cluster", conductance: "conductance", stability: "stability", region: "region" };

const rgb = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));

// The style sheet's colours as numbers.
export function readInk() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => rgb(style.getPropertyValue(name).trim());
  return {
    hues: Array.from({ length: NUM_COLOURS }, (_, i) => read(`--s${i}`)),
    ramp: Array.from({ length: NUM_STOPS }, (_, i) => read(`--r${i}`)),
    faint: read("--dot"), ink: read("--ink"), accent: read("--accent"), raised: read("--raised"),
  };
}

function onRamp(ramp, share) {
  const at = Math.min(Math.max(share, 0), 1) * (ramp.length - 1), low = Math.min(Math.floor(at), ramp.length - 2);
  return ramp[low].map((value, i) => Math.round(value + (ramp[low + 1][i] - value) * (at - low)));
}

// Least and most of a column, where something is known.
export function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  return low <= high ? [low, high] : null;
}

// Row by row red, green, blue of each cluster.
export function clusterColours({ clusters }, mode, ink) {
  const colours = new Uint8Array(3 * clusters.count);
  const quantity = mode === "conductance" || mode === "stability" ? clusters[mode].values : null;
  const span = quantity && extent(quantity);
  for (let id = 0; id < clusters.count; id++) colours.set(colourOf(id), 3 * id);
  return colours;

  function colourOf(id) {
    if (quantity) {
      if (!span || Number.isNaN(quantity[id])) return ink.faint;
      return onRamp(ink.ramp, span[1] > span[0] ? (quantity[id] - span[0]) / (span[1] - span[0]) : 0.5);
    }
    if (clusters.holds.values[id] === 0) return ink.faint;
    const index = mode === "subset" ? clusters.subset.values[id] : mode === "region" ? clusters.region.values[id] : id;
    return index < 0 ? ink.faint : ink.hues[index % NUM_COLOURS];
  }
}

// How opaque a token is, in a cluster and in none: the more there are, the less.
export const opacity = (count) => (count > 1e6 ? [130, 60] : count > 1e5 ? [170, 80] : [215, 110]);

// What the colours of a mode mean, in a sentence or two.
export function meaning(world, mode) {
  const isMarked = !(mode in world.clusters) && world.clusters.holds.values.some((holds) => holds === 0);
  return meaningOf(world, mode) + (isMarked ? ` A grey ring ${LOOSE} ${LOOSE_MEANS}.` : "");
}

function meaningOf({ map, clusters }, mode) {
  if (mode === "subset") {
    const repeated = map.subsets.length > NUM_COLOURS ? " From the ninth subset on colours repeat: its tokens are diamonds, rings of its clusters heavier." : "";
    return `Colour is the subset: of a token its own, of a cluster the one most of its tokens come from.${repeated}`;
  }
  if (mode === "cluster") return "Neighbouring ids get different colours; eight colours repeat. Grey is in no cluster.";
  if (mode === "region") return "Colour is the region; eight colours repeat. Grey is in no cluster, or its cluster in no region.";
  const span = extent(clusters[mode].values);
  const low = { conductance: "lower is better separated", stability: "higher is found again by other draws" }[mode];
  if (!span) return `No cluster's ${mode} is known in this run.`;
  return `Colour is the cluster's ${mode}, from ${fixed(span[0], 2)} to ${fixed(span[1], 2)}: ${low}. Grey is in no cluster, or not known.`;
}

