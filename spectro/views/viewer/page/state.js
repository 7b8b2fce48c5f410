// What is shown: one state, a few listeners.
export const ANY = [-Infinity, Infinity];

export const START = Object.freeze({
  open: null, // cluster whose card is open
  query: "",
  colour: "subset",
  sort: "size", // a field of fields.js
  descending: null, // null: as the field is usually read
  view: "map", // map, found, clusters, columns, control or run
  panel: "list", // list, card or selection, beside the view
  hidden: new Set(), // subsets
  loose: true, // tokens in no cluster
  assigned: true, // tokens assigned to a cluster later
  size: ANY,
  conductance: ANY,
  stability: ANY,
  region: null,
  selection: null, // { clusters: [id, ...] } or { shape: [[x, y], ...] } on the grid
  place: null, // { x, y, zoom }: centre of the view on the grid; null shows all
});

export const state = { ...START };
const listeners = [];

export const onChange = (listener) => listeners.push(listener);

// Listeners get the names of what changed.
export function change(update) {
  const changed = new Set(Object.keys(update).filter((name) => state[name] !== update[name]));
  if (!changed.size) return;
  Object.assign(state, update);
  for (const listener of listeners) listener(changed);
}

export const touches = (changed, ...names) => names.some((name) => changed.has(name));
export const FILTERS = ["hidden", "loose", "assigned", "size", "conductance", "stability", "region"];
export const isFiltered = () => state.hidden.size > 0 || state.region !== null || !state.loose || !state.assigned ||
  ["size", "conductance", "stability"].some((name) => state[name] !== ANY);
export const NO_FILTER = Object.fromEntries(FILTERS.map((name) => [name, START[name]]));
