// What follows from the state and the tokens that have arrived: recomputed when either changes.
import { passing, tally } from "./filters.js";
import { search } from "./search.js";
import { FILTERS, onChange, state, touches } from "./state.js";

const WHILE_LOADING_MS = 400;
export const model = { pass: null, found: null, tally: null, clusters: [] };
const listeners = [];
export const onModel = (listener) => listeners.push(listener);

const SORTS = {
  size: (id, { size }) => -size.values[id],
  conductance: (id, { conductance }) => conductance.values[id],
  stability: (id, { stability }) => -stability.values[id],
  purity: (id, { token_purity: purity }) => -purity.values[id],
  matches: (id) => -model.tally.matchesOf[id],
  id: (id) => id,
};

// Clusters that pass the filters and that the search, if there is one, has found; in order.
function listed({ clusters }) {
  const found = [];
  for (let id = 0; id < clusters.count; id++) {
    if (model.pass.clusters[id] && (!model.found || model.found.clusters[id] || (model.found.vocabulary && model.tally.matchesOf[id]))) found.push(id);
  }
  const key = Float64Array.from({ length: clusters.count }, (_, id) => SORTS[state.sort](id, clusters));
  const last = (value) => (Number.isNaN(value) ? Infinity : value); // not known comes last
  return found.sort((a, b) => last(key[a]) - last(key[b]) || clusters.size.values[b] - clusters.size.values[a] || a - b || 0);
}

function tell(what) {
  for (const listener of listeners) listener(what);
}

export function startModel(world) {
  const update = (changed) => {
    const filtered = touches(changed, ...FILTERS), searched = changed.has("query");
    if (filtered) model.pass = passing(world, state);
    if (searched) model.found = search(state.query, world);
    const counted = filtered || searched || touches(changed, "selection", "open");
    if (counted) model.tally = tally(world, state, model.pass, model.found);
    if (counted || changed.has("sort")) model.clusters = listed(world);
    if (counted || changed.has("sort")) tell({ filtered, counted });
  };
  update(new Set([...FILTERS, "query"]));
  onChange(update);
  let timer = 0;
  const recount = () => {
    timer = 0;
    model.tally = tally(world, state, model.pass, model.found);
    model.clusters = listed(world);
    tell({ filtered: false, counted: true });
  };
  const later = () => { timer ||= setTimeout(recount, world.tokens.loaded < world.tokens.count ? WHILE_LOADING_MS : 0); };
  return Object.assign(later, { isDue: () => timer !== 0 });
}
