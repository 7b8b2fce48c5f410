// What is typed in the search box, and which tokens and clusters it means.
import { row } from "./data.js";
import { label, plain, vocabularySize } from "./text.js";

// null, or { kind, … }: #12 · subset:name · region:name · size:20-500 · assigned: · else text, white space and all.
export function parse(query) {
  if (!query) return null;
  const number = /^\s*#(\d{1,9})\s*$/.exec(query);
  if (number) return { kind: "cluster", id: Number(number[1]) };
  const named = /^\s*(subset|region):\s*(.+?)\s*$/i.exec(query);
  if (named) return { kind: named[1].toLowerCase(), name: named[2].toLowerCase() };
  const assigned = /^\s*assigned:\s*#?(\d{0,9})\s*$/i.exec(query);
  if (assigned) return { kind: "assigned", id: assigned[1] === "" ? null : Number(assigned[1]) };
  const size = /^\s*size:\s*(\d*)\s*(-?)\s*(\d*)\s*$/i.exec(query);
  if (size && (size[1] || size[3])) {
    const low = Number(size[1] || 0), high = size[3] ? Number(size[3]) : size[2] ? Infinity : low;
    return { kind: "size", low, high };
  }
  return { kind: "text", text: query };
}

// { kind, vocabulary | subsets | null, clusters }: flags by token id, by subset, by cluster.
export function search(query, world) {
  const asked = parse(query);
  if (!asked) return null;
  const clusters = new Uint8Array(world.clusters.count);
  if (asked.kind === "text") return byText(asked.text, world, clusters);
  const { size, subset, region } = world.clusters;
  const isNamed = (name) => name.toLowerCase().includes(asked.name);
  if (asked.kind === "subset") {
    const subsets = Uint8Array.from(world.map.subsets, (name) => Number(isNamed(name)));
    clusters.forEach((_, id) => { clusters[id] = subsets[subset.values[id]]; });
    return { kind: asked.kind, subsets, clusters };
  }
  if (asked.kind === "cluster" && asked.id < clusters.length) clusters[asked.id] = 1;
  if (asked.kind === "assigned" && world.clusters.assigned) {
    clusters.forEach((_, id) => { clusters[id] = Number(world.clusters.assigned.values[id] > 0 && (asked.id ?? id) === id); });
  }
  if (asked.kind === "size") clusters.forEach((_, id) => { clusters[id] = Number(size.values[id] >= asked.low && size.values[id] <= asked.high); });
  if (asked.kind === "region") {
    const isMeant = (one) => (/^\d+$/.test(asked.name) ? String(one.id) === asked.name : isNamed(one.plain));
    const found = new Set(world.regions.filter(isMeant).map((one) => one.id));
    clusters.forEach((_, id) => { clusters[id] = Number(found.has(region.values[id])); });
  }
  return { kind: asked.kind, clusters };
}

// A cluster has the text if one of its most common tokens has it; those with other tokens of it
// are added when the drawn tokens are counted.
function byText(text, world, clusters) {
  const vocabulary = matching(text), { top_tokens: top } = world.clusters;
  clusters.forEach((_, id) => { clusters[id] = Number(row(top, id).some((token) => token >= 0 && vocabulary[token])); });
  return { kind: "text", vocabulary, clusters };
}

// Lower case finds both cases; white space may be typed as itself or as its mark.
function matching(text) {
  const asked = [text, text.replace(/·/g, " ").replace(/⏎/g, "\n").replace(/⇥/g, "\t")];
  const exact = text !== text.toLowerCase(), flags = new Uint8Array(vocabularySize());
  const fold = (string) => (exact ? string : string.toLowerCase());
  for (let id = 0; id < flags.length; id++) {
    const said = fold(plain(id));
    if (said.includes(asked[1]) || said.includes(asked[0]) || (asked[0] !== asked[1] && fold(label(id)).includes(asked[0]))) flags[id] = 1;
  }
  return flags;
}
