// What is known of a cluster, field by field: its name and meaning, how it is written and sorted.
import { LOOSE } from "./colours.js";
import { row, top } from "./data.js";
import { element, fixed, integer, percent } from "./dom.js";
import { swatch } from "./marks.js";
import { nameNodes, nameOf, nameText } from "./names.js";
import { label, token } from "./text.js";

const NUM_TOKENS = 6;
const tops = (world, id) => top(world, id, NUM_TOKENS).map(([y]) => y);
const subsetName = ({ map, clusters }, id) => map.subsets[clusters.subset.values[id]];
export const isLoose = ({ clusters }, id) => clusters.holds.values[id] === 0;

// A number of the clusters' columns; `rises`: low values first.
const measured = (key, name, write, title, rises = false) => ({
  key, name, title, rises, of: ({ clusters }, id) => clusters[key].values[id], show: ({ clusters }, id) => [write(clusters[key].values[id])] });
const digits = (number) => (value) => fixed(value, number);

export const FIELDS = [
  { key: "id", name: "cluster", title: "Id of the cluster: 0 is the largest", rises: true, of: (world, id) => id, show: (world, id) => [isLoose(world, id) ? `#${id} ${LOOSE}` : `#${id}`] },
  measured("size", "tokens", integer, "Members of the cluster"),
  { key: "name", name: "name", title: "What distinguishes its tokens from others, by a rule or from a file; sorted as text", rises: true, isText: true,
    of: (world, id) => nameText(world, id).toLowerCase(), show: (world, id) => (nameOf(world, id) ? nameNodes(world, id) : [element("span", "faint", "–")]) },
  measured("name_f1", "F1", digits(2), "F1 of its name by a rule: how well it predicts members in held-out sequences; – not known"),
  { key: "tops", name: "most common y", title: "Its most common tokens y, commonest first; sorted as text", rises: true, isText: true,
    of: (world, id) => tops(world, id).map(label).join(" ").toLowerCase(), show: (world, id) => tops(world, id).map((y) => token(y)) },
  measured("token_purity", "one y", percent, "Token purity: share of the commonest y"),
  measured("stability", "stability", digits(2), "How far two halves of the chains find the same tokens: 1 the same, – not known"),
  measured("repeatability", "ceiling", digits(2), "How far other seeds of the same χ find the same tokens: what stability can reach, – not known"),
  measured("shared_neighbours", "shared", percent, "Share of its tokens' nearest neighbours that two halves of the chains have in common, – not known"),
  measured("q_value", "q", digits(3), "q-value over all clusters, in other draws: chance that the cluster is no more than its y, against shuffles within equal y; – not known", true),
  measured("conductance", "conductance", digits(3), "Share of the cluster's edge weight that leaves it: lower is better separated", true),
  { key: "subset", name: "subset", title: "Subset that most of its tokens come from", rises: true, isText: true,
    of: subsetName, show: (world, id) => [swatch(world.clusters.subset.values[id]), subsetName(world, id)] },
  measured("purity", "one subset", percent, "Purity: share of the commonest subset"),
];
const MATCHES = { key: "matches", name: "tokens found", title: "Tokens that the search found", of: (world, id, tally) => tally.matchesOf[id], show: (world, id, tally) => [integer(tally.matchesOf[id])] };
export const FIELD = Object.fromEntries([...FIELDS, MATCHES].map((field) => [field.key, field]));
export const ON_CARD = ["size", "conductance", "stability", "repeatability", "shared_neighbours", "q_value", "token_purity", "purity"];

// Token ids of members that are shown; fewer where the cluster is smaller.
export const membersShown = ({ clusters }, name, id) => [...row(clusters[name], id)].filter((tokenId) => tokenId >= 0);
