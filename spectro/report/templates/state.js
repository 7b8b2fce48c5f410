// What is shown: one state, a few listeners.
const state = { query: "", hidden: new Set(), sort: "size", hover: null, selected: null };
const listeners = [];
const onChange = (listener) => listeners.push(listener);

function change(update) {
  Object.assign(state, update);
  for (const listener of listeners) listener(update);
}

const NUM_COLOURS = 8;
const colourVariable = (subset) => `--s${subset % NUM_COLOURS}`;
const isSecondRound = (subset) => subset >= NUM_COLOURS; // drawn as a diamond

function dominant(cluster) {
  return cluster.subsets.indexOf(Math.max(...cluster.subsets));
}

function searchText(cluster) {
  const tops = cluster.top.map(([id]) => plain(id));
  const targets = (cluster.contexts ?? []).map((context) => plain(context[6]));
  return [...tops, ...targets].join("\u0000").toLowerCase();
}

function matchesQuery(cluster) {
  const query = state.query.toLowerCase();
  if (!query.trim()) return true;
  const number = /^\s*#?(\d+)\s*$/.exec(query);
  if (number && (query.includes("#") || BY_ID.has(Number(number[1])))) return cluster.id === Number(number[1]);
  return (cluster.search ??= searchText(cluster)).includes(query);
}

const isShown = (cluster) => !state.hidden.has(cluster.dominant) && matchesQuery(cluster);

const SORTS = {
  size: (cluster) => -cluster.size,
  conductance: (cluster) => cluster.conductance ?? Infinity,
  purity: (cluster) => -(cluster.tokenPurity ?? -1),
  subset: (cluster) => -(cluster.purity ?? -1),
  id: (cluster) => cluster.id,
};

function shownClusters() {
  const key = SORTS[state.sort];
  return DATA.clusters.filter(isShown).sort((a, b) => key(a) - key(b) || b.size - a.size || a.id - b.id);
}

function openCluster(cluster) {
  change({ selected: cluster });
  revealCard(cluster);
}

// A subset's mark: a disc for the first eight, a diamond for the next.
function swatch(subset) {
  const node = element("span", isSecondRound(subset) ? "swatch diamond" : "swatch");
  node.style.background = `var(${colourVariable(subset)})`;
  return node;
}
