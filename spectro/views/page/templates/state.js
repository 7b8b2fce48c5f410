// What is shown: one state, kept in the address; a few listeners.
const DATA = JSON.parse(byId("data").textContent);
const ROWS = DATA.rows; // columns of the table; the row of a cluster is its id
const NUM_ROWS = ROWS.size.length, NUM_CARDS = DATA.cards.length, NUM_CLUSTERS = DATA.summary.clusters;
const ANY = [-Infinity, Infinity];
const RANGES = ["size", "conductance", "stability"];

const START = Object.freeze({
  open: null, // cluster whose card is open
  query: "",
  sort: "size",
  descending: true,
  hidden: new Set(), // subsets
  size: ANY, conductance: ANY, stability: ANY,
});

const state = { ...START };
const listeners = [];
const onChange = (listener) => listeners.push(listener);
const FILTERS = ["query", "hidden", ...RANGES];
const isFiltered = () => state.query !== "" || state.hidden.size > 0 || RANGES.some((name) => state[name] !== ANY);
const NO_FILTER = Object.fromEntries(FILTERS.map((name) => [name, START[name]]));
const touches = (changed, ...names) => names.some((name) => changed.has(name));
const range = (low, high) => (low === -Infinity && high === Infinity ? ANY : [low, high]);

// Listeners get the names of what changed.
function change(update) {
  const changed = new Set(Object.keys(update).filter((name) => state[name] !== update[name]));
  if (!changed.size) return;
  Object.assign(state, update);
  for (const listener of listeners) listener(changed);
}

setVocabulary(DATA.pieces);
