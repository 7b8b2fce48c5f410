// The columns of the table, and which clusters it lists in which order.
const subsetName = (id) => DATA.subsets[ROWS.subset[id]];
const measured = (name) => (id) => ROWS[name][id];
const LOOSE = "◌"; // marks what does not hold
const isLoose = (id) => ROWS.holds[id] === 0;
const LOOSE_MEANS = "does not hold: other seeds of the same χ do not find it again (Jaccard below 0.5), or other draws do not know it";
let spellings = null; // of the most common tokens, for sorting

const COLUMNS = [
  { key: "id", name: "cluster", title: "Id of the cluster: 0 is the largest", of: (id) => id, show: (id) => (isLoose(id) ? `#${id} ${LOOSE}` : `#${id}`), rises: true },
  { key: "size", name: "tokens", title: "Members of the cluster", of: measured("size"), show: (id) => integer(ROWS.size[id]) },
  { key: "tops", name: "most common y", title: "Its most common tokens y, commonest first; sorted as text", of: (id) => spelling(id),
    show: (id) => ROWS.tops[id].map((y) => token(y)), rises: true, isText: true },
  { key: "tokenPurity", name: "one y", title: "Token purity: share of the commonest y", of: measured("tokenPurity"), show: (id) => percent(ROWS.tokenPurity[id]) },
  { key: "stability", name: "stability", title: "How far two halves of the chains find the same tokens: 1 the same, – not known",
    of: measured("stability"), show: (id) => fixed(ROWS.stability[id], 2) },
  { key: "repeatability", name: "ceiling", title: "How far other seeds of the same χ find the same tokens: what stability can reach, – not known",
    of: measured("repeatability"), show: (id) => fixed(ROWS.repeatability[id], 2) },
  { key: "sharedNeighbours", name: "shared", title: "Share of its tokens' nearest neighbours that two halves of the chains have in common, – not known",
    of: measured("sharedNeighbours"), show: (id) => percent(ROWS.sharedNeighbours[id]) },
  { key: "qValue", name: "q", title: "Chance, over all clusters, that it is no more than its y: against shuffles within equal y, in other draws; – not known",
    of: measured("qValue"), show: (id) => fixed(ROWS.qValue[id], 3), rises: true },
  { key: "conductance", name: "conductance", title: "Share of the cluster's edge weight that leaves it: lower is better separated",
    of: measured("conductance"), show: (id) => fixed(ROWS.conductance[id], 3), rises: true },
  { key: "subset", name: "subset", title: "Subset that most of its tokens come from", of: subsetName,
    show: (id) => [swatch(ROWS.subset[id]), subsetName(id)], rises: true, isText: true },
  { key: "purity", name: "one subset", title: "Purity: share of the commonest subset", of: measured("purity"), show: (id) => percent(ROWS.purity[id]) },
];
const COLUMN = Object.fromEntries(COLUMNS.map((column) => [column.key, column]));

function spelling(id) {
  spellings ??= ROWS.tops.map((tops) => tops.map(label).join(" ").toLowerCase());
  return spellings[id];
}

const model = { flags: new Uint8Array(NUM_ROWS), listed: [] };
const isShown = (id) => (id < NUM_ROWS ? model.flags[id] === 1 : !isFiltered());

// What is not known passes a range that says nothing.
const within = (value, bounds) => bounds === ANY || (isKnown(value) && value >= bounds[0] && value <= bounds[1]);

function finder() {
  const asked = parse(state.query);
  if (!asked) return () => true;
  if (asked.kind === "cluster") return (id) => id === asked.id;
  if (asked.kind === "size") return (id) => ROWS.size[id] >= asked.low && ROWS.size[id] <= asked.high;
  if (asked.kind === "subset") return (id) => subsetName(id).toLowerCase().includes(asked.name);
  const found = new Set(Object.keys(DATA.pieces).map(Number).filter(spelled(state.query)));
  return (id) => ROWS.tops[id].some((y) => found.has(y));
}

function filter() {
  const isFound = finder();
  for (let id = 0; id < NUM_ROWS; id++) {
    model.flags[id] = Number(!state.hidden.has(ROWS.subset[id]) && RANGES.every((name) => within(ROWS[name][id], state[name])) && isFound(id));
  }
}

// What is not known comes last, whatever the direction; equals by id, which is by size.
function order() {
  const { of } = COLUMN[state.sort], sign = state.descending ? -1 : 1, ids = [];
  for (let id = 0; id < NUM_ROWS; id++) if (model.flags[id]) ids.push(id);
  const values = new Map(ids.map((id) => [id, of(id)]));
  model.listed = ids.sort((a, b) => {
    const x = values.get(a), y = values.get(b);
    if (x === y) return a - b;
    if (!isKnown(x) || !isKnown(y)) return Number(isKnown(y)) - Number(isKnown(x));
    return x < y ? -sign : sign;
  });
}

function startModel() {
  filter();
  order();
  onChange((changed) => {
    const isNew = touches(changed, ...FILTERS);
    if (isNew) filter();
    if (isNew || touches(changed, "sort", "descending")) order();
  });
}
