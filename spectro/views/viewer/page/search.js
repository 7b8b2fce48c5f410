// Which tokens and clusters a query means.
import { row } from "./data.js";
import { nameText } from "./names.js";
import { parse, spelled } from "./query.js";
import { vocabularySize } from "./text.js";

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
  if (asked.kind === "name") clusters.forEach((_, id) => { clusters[id] = Number(isNamed(nameText(world, id))); });
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

function matching(text) {
  const has = spelled(text), flags = new Uint8Array(vocabularySize());
  for (let id = 0; id < flags.length; id++) flags[id] = Number(has(id));
  return flags;
}
