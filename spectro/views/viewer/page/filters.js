// What passes the filters, and what of it is lit by search, selection and the open card. Legend:
// N tokens drawn, K clusters, P subsets, V vocabulary.
import { vocabularySize } from "./text.js";
import { ANY } from "./state.js";

// NaN is "not known": it passes a range that says nothing.
const within = (value, range) => range === ANY || (value >= range[0] && value <= range[1]);

// tokensOf [K]: whether a cluster's tokens are drawn; clusters [K]: whether it is drawn and listed
// itself, which its most common subset has a say in; subsets [P].
export function passing({ map, clusters }, state) {
  const subsets = Uint8Array.from(map.subsets, (_, subset) => Number(!state.hidden.has(subset)));
  const tokensOf = new Uint8Array(clusters.count), listed = new Uint8Array(clusters.count);
  for (let id = 0; id < clusters.count; id++) {
    const passes = within(clusters.size.values[id], state.size)
      && within(clusters.conductance.values[id], state.conductance)
      && within(clusters.stability.values[id], state.stability)
      && (state.region === null || clusters.region.values[id] === state.region);
    tokensOf[id] = Number(passes);
    listed[id] = Number(passes && subsets[clusters.subset.values[id]]);
  }
  return { subsets, tokensOf, clusters: listed, loose: state.loose, assigned: state.assigned };
}

// The column `cluster` of a token is −1 in none, −2 − c where it was assigned to c later.
export const homeOf = (cluster) => (cluster < -1 ? -2 - cluster : cluster);

function passes(pass, cluster) {
  if (cluster >= 0) return pass.tokensOf[cluster];
  return cluster === -1 ? pass.loose : pass.assigned && pass.tokensOf[-2 - cluster];
}

export const isDrawn = (pass, cluster, subset) => pass.subsets[subset] && passes(pass, cluster);

// Clusters of a selection: those named, or those whose centre the shape holds.
function selectedClusters({ clusters }, pass, selection) {
  const flags = new Uint8Array(clusters.count);
  if (selection?.clusters) for (const id of selection.clusters) flags[id] = 1;
  if (selection?.shape) {
    const holds = inside(selection.shape);
    for (let id = 0; id < clusters.count; id++) flags[id] = Number(pass.clusters[id] && holds(clusters.x.values[id], clusters.y.values[id]));
  }
  return flags;
}

// Even-odd rule, after a look at the box around the shape.
function inside(shape) {
  const xs = shape.map(([x]) => x), ys = shape.map(([, y]) => y);
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  return (x, y) => {
    if (x < left || x > right || y < low || y > high) return false;
    let isIn = false;
    for (let i = 0, j = xs.length - 1; i < xs.length; j = i++) {
      if (ys[i] > y !== ys[j] > y && x < ((xs[j] - xs[i]) * (y - ys[i])) / (ys[j] - ys[i]) + xs[i]) isIn = !isIn;
    }
    return isIn;
  };
}

function matcher(found) {
  if (!found) return () => false;
  if (found.vocabulary) return (token) => found.vocabulary[token] === 1;
  if (found.subsets) return (token, subset) => found.subsets[subset] === 1;
  if (found.kind === "assigned") return (token, subset, cluster) => cluster < -1 && found.clusters[-2 - cluster] === 1;
  return (token, subset, cluster) => cluster >= 0 && found.clusters[cluster] === 1;
}

function selector(selection, flags) {
  if (!selection) return () => false;
  if (selection.clusters) return (cluster) => cluster >= 0 && flags[cluster] === 1;
  const holds = inside(selection.shape);
  return (cluster, x, y) => holds(x, y);
}

// One pass over the tokens that are there. bySubset counts them before the subsets' own filter.
export function tally(world, state, pass, found) {
  const { tokens: { x, y, cluster, subset, token, loaded }, clusters, map } = world;
  const selectedFlags = selectedClusters(world, pass, state.selection);
  const matches = matcher(found), selects = selector(state.selection, selectedFlags);
  const count = {
    drawn: 0, matched: 0, selected: 0, selectedLoose: 0, selectedAssigned: 0, selectedElsewhere: 0, selectedFlags,
    bySubset: new Uint32Array(map.subsets.length), matchesOf: new Uint32Array(clusters.count),
    selectedSubset: new Uint32Array(map.subsets.length), selectedToken: new Uint32Array(state.selection ? vocabularySize() : 0),
    selectedOf: new Uint32Array(clusters.count), drawnOf: new Uint32Array(clusters.count), // members by cluster
  };
  const lit = new Uint32Array(loaded);
  let numLit = 0;
  for (let i = 0; i < loaded; i++) {
    const own = cluster[i], home = homeOf(own), kind = subset[i];
    if (passes(pass, own)) count.bySubset[kind]++;
    if (!isDrawn(pass, own, kind)) continue;
    count.drawn++;
    const isMatch = matches(token[i], kind, own), isSelected = selects(own, x[i], y[i]);
    if (isMatch) { count.matched++; if (home >= 0) count.matchesOf[home]++; }
    if (own >= 0) { count.drawnOf[own]++; if (isSelected) count.selectedOf[own]++; }
    if (isSelected) {
      count.selected++; count.selectedSubset[kind]++; count.selectedToken[token[i]]++;
      if (own === -1) count.selectedLoose++;
      else if (own < -1) count.selectedAssigned++;
      else if (!selectedFlags[own]) count.selectedElsewhere++;
    }
    if (isMatch || isSelected || (home >= 0 && home === state.open)) lit[numLit++] = i;
  }
  return { ...count, lit: lit.slice(0, numLit) };
}
