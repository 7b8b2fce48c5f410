// The objects of a run by name: from a folder over HTTP, or inlined in the page (ADR 081). Legend:
// N tokens drawn, K clusters, H components, P subsets, T the context.
const TYPES = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, i32: Int32Array, f32: Float32Array, f64: Float64Array };
const DRAWN = ["x", "y", "cluster", "subset", "token"]; // the rest of a token is read when it is looked at
const KEPT_FILES = 24;
const FORMAT = 3;

// The nβ = 0 control is a second map in a folder beside the page: index.html?map=control.
export const CONTROL = "control";
export const showsControl = new URLSearchParams(location.search).get("map") === CONTROL;
const FOLDER = showsControl ? `${CONTROL}/` : "";

const block = document.getElementById("objects");
const inlined = block && JSON.parse(block.textContent); // name → base64 of gzip
export const isOneFile = inlined !== null;

function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

// The bytes of an object; of the control, what both have in common is the run's.
async function readBytes(name) {
  const path = FOLDER + name;
  if (isOneFile) {
    const text = inlined[path] ?? inlined[name];
    if (text === undefined) throw new Error(`${path}: expected an object of this page, found none: was the file cut?`);
    return unpacked(text);
  }
  const answer = await fetch(path).catch(() => null);
  if (!answer?.ok) throw new Error(`${path}: expected a file of the map, found ${answer ? `HTTP ${answer.status}` : "no answer"}: was the folder copied whole?`);
  return answer.arrayBuffer();
}

const readText = async (name) => new TextDecoder().decode(await readBytes(name));
const readJson = async (name) => JSON.parse(await readText(name));

// A script of the page: inlined, or beside it.
export async function scriptElement(name) {
  const script = document.createElement("script");
  if (!isOneFile) { script.src = name; return script; }
  if (!(name in inlined)) throw new Error(`${name}: this page was written where pydeck was not installed, so it has no map`);
  script.textContent = await readText(name);
  return script;
}

async function readArray(path, dtype, length = null) {
  const bytes = await readBytes(path);
  const Type = TYPES[dtype];
  if (!Type) throw new Error(`${path}: expected one of ${Object.keys(TYPES).join(", ")}, found dtype ${dtype}: was the map made by a later version?`);
  const found = bytes.byteLength / Type.BYTES_PER_ELEMENT;
  if (length !== null && found !== length) throw new Error(`${path}: expected ${length} numbers, found ${found}: was the folder copied whole?`);
  return new Type(bytes);
}

const numbered = (index) => String(index).padStart(4, "0");

// What is read twice is kept, the oldest is let go.
function keeping(read) {
  const kept = new Map();
  return (path, ...more) => {
    const found = kept.get(path) ?? read(path, ...more);
    kept.delete(path);
    kept.set(path, found);
    found.catch(() => kept.delete(path));
    if (kept.size > KEPT_FILES) kept.delete(kept.keys().next().value);
    return found;
  };
}

const readKept = keeping(readArray);

export async function readMap() {
  const map = await readJson("map.json");
  if (map.format !== FORMAT) throw new Error(`map.json: expected format ${FORMAT}, found ${map.format}: was the map made by another version of spectro?`);
  const [vocabulary, report, regions, names, clusters] = await Promise.all([
    readJson("vocabulary.json"), readJson("report.json"), map.clusters.count ? readJson("regions.json") : [], readJson("names.json"), readClusters(map.clusters)]);
  return { map, vocabulary, report, regions, names, clusters, tokens: emptyTokens(map.tokens) };
}
// name → { values, width }; the row of a cluster is its cluster_id.
async function readClusters({ count, columns }) {
  const entries = Object.entries(columns).map(async ([name, kind]) => {
    const [dtype, width] = Array.isArray(kind) ? kind : [kind, 1];
    const values = count ? await readArray(`clusters/${name}.bin`, dtype, count * width) : new TYPES[dtype](0);
    return [name, { values, width }];
  });
  return { count, ...Object.fromEntries(await Promise.all(entries)) };
}

export const row = ({ values, width }, index) => values.subarray(index * width, (index + 1) * width);

// [[token, count], ...] of a cluster, most common first.
export function top({ clusters }, id, most = Infinity) {
  const counts = row(clusters.top_counts, id);
  return [...row(clusters.top_tokens, id)].map((token, i) => [token, counts[i]]).filter(([token]) => token >= 0).slice(0, most);
}

function emptyTokens({ count, columns }) {
  const arrays = DRAWN.map((name) => [name, new TYPES[columns[name]](count)]);
  return { count, loaded: 0, ...Object.fromEntries(arrays) };
}

// Fills the columns file by file, in order: what is there is a random sample of all at any time.
export async function readTokens({ map, tokens }, onProgress) {
  const size = map.tokens.rows_per_file, files = Math.ceil(tokens.count / size);
  const start = (index) => Promise.all(DRAWN.map((name) =>
    readArray(`tokens/${name}-${numbered(index)}.bin`, map.tokens.columns[name], Math.min(size, tokens.count - index * size))));
  let next = files ? start(0) : null;
  for (let index = 0; index < files; index++) {
    const arrays = await next;
    next = index + 1 < files ? start(index + 1) : null;
    next?.catch(() => {}); // looked at in the next round
    arrays.forEach((values, column) => tokens[DRAWN[column]].set(values, index * size));
    tokens.loaded = Math.min(tokens.count, (index + 1) * size);
    onProgress();
  }
}

// { tokenId, loss } of one token that is drawn.
export async function readToken({ map }, index) {
  const { columns, rows_per_file: size, count } = map.tokens;
  const file = Math.floor(index / size), length = Math.min(size, count - file * size);
  const [tokenId, loss] = await Promise.all(["token_id", "loss"].map((name) =>
    readKept(`tokens/${name}-${numbered(file)}.bin`, columns[name], length)));
  return { tokenId: tokenId[index % size], loss: loss[index % size] };
}

// The sequence that a token is in: its ids, the position of x's end, the subset; null where this
// page does not hold it.
export async function readContext({ map }, tokenId) {
  const { sequences_per_file: size, count, dtype, subsets, held } = map.sequences, kind = map.tokens.columns.subset, width = map.context + 1;
  const sequence = Math.floor(tokenId / map.context);
  const index = held === null ? sequence : placeOf(await readKept(held, "f64", count), sequence);
  if (index < 0) return null;
  const file = Math.floor(index / size);
  const [ids, subset] = await Promise.all([
    readKept(`sequences/ids-${numbered(file)}.bin`, dtype, Math.min(size, count - file * size) * width),
    readKept(subsets, kind, count)]);
  const first = (index % size) * width;
  return { ids: ids.subarray(first, first + width), position: tokenId % map.context, sequence, subset: subset[index] };
}

// Where a number is among ascending ones, −1 where it is not.
function placeOf(values, wanted) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle + 1; else high = middle;
  }
  return values[low] === wanted ? low : -1;
}

// Mean standardised χ of a cluster: H numbers, NaN where nothing is known.
export async function readProfile({ map, clusters }, index) {
  const size = clusters.count && map.clusters.profiles.rows_per_file, width = map.components.length;
  const file = Math.floor(index / size), rows = Math.min(size, clusters.count - file * size);
  const halves = await readKept(`clusters/profiles-${numbered(file)}.bin`, "u16", rows * width);
  return [...halves.subarray((index % size) * width, (index % size + 1) * width)].map(fromHalf);
}

// The mean of several clusters, weighted by their sizes: NaN where of none anything is known.
export async function readMeanProfile(world, ids) {
  const width = world.map.components.length, sums = new Float64Array(width), weights = new Float64Array(width);
  for (const id of [...ids].sort((a, b) => a - b)) { // in the order of the files
    const values = await readProfile(world, id), size = world.clusters.size.values[id];
    values.forEach((value, column) => {
      if (Number.isNaN(value)) return;
      sums[column] += size * value;
      weights[column] += size;
    });
  }
  return Array.from(sums, (sum, column) => (weights[column] ? sum / weights[column] : NaN));
}

// IEEE 754 binary16, which not every browser has an array of.
function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}
