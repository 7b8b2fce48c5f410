// What follows from the state and the tokens that have arrived: recomputed when either changes.
import { isKnown } from "./dom.js";
import { FIELD } from "./fields.js";
import { passing, tally } from "./filters.js";
import { search } from "./search.js";
import { FILTERS, onChange, state, touches } from "./state.js";

const WHILE_LOADING_MS = 400;
export const model = { pass: null, found: null, tally: null, clusters: [] };
const listeners = [];
export const onModel = (listener) => listeners.push(listener);

// Clusters that pass the filters and that the search, if there is one, has found; in order.
function listed(world) {
  const { clusters } = world, found = [];
  for (let id = 0; id < clusters.count; id++) {
    if (model.pass.clusters[id] && (!model.found || model.found.clusters[id] || (model.found.vocabulary && model.tally.matchesOf[id]))) found.push(id);
  }
  const { of } = FIELD[state.sort], sign = isDescending() ? -1 : 1, keys = new Map(found.map((id) => [id, of(world, id, model.tally)]));
  return found.sort((a, b) => {
    const x = keys.get(a), y = keys.get(b);
    if (x === y) return clusters.size.values[b] - clusters.size.values[a] || a - b;
    if (!isKnown(x) || !isKnown(y)) return Number(isKnown(y)) - Number(isKnown(x)) || a - b; // not known comes last
    return x < y ? -sign : sign;
  });
}

export const isDescending = () => state.descending ?? !FIELD[state.sort].rises;

function notify(what) {
  for (const listener of listeners) listener(what);
}

export function startModel(world) {
  const update = (changed) => {
    const filtered = touches(changed, ...FILTERS), searched = changed.has("query");
    if (filtered) model.pass = passing(world, state);
    if (searched) model.found = search(state.query, world);
    const counted = filtered || searched || touches(changed, "selection", "open");
    if (counted) model.tally = tally(world, state, model.pass, model.found);
    if (counted || touches(changed, "sort", "descending")) model.clusters = listed(world);
    if (counted || touches(changed, "sort", "descending")) notify({ filtered, counted });
  };
  update(new Set([...FILTERS, "query"]));
  onChange(update);
  let timer = 0;
  const recount = () => {
    timer = 0;
    model.tally = tally(world, state, model.pass, model.found);
    model.clusters = listed(world);
    notify({ filtered: false, counted: true });
  };
  const later = () => { timer ||= setTimeout(recount, world.tokens.loaded < world.tokens.count ? WHILE_LOADING_MS : 0); };
  return Object.assign(later, { isDue: () => timer !== 0 });
}
