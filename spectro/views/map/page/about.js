// The run behind the map: facts, control, reliability of the columns, provenance.
import { byId, element, fixed, integer, median, percent, table } from "./dom.js";
import { profile } from "./profile.js";

// `tokens` are those in any cluster, each once: where clusters overlap, fewer than their sizes say.
function numbers(sizes, tokens, conductances, total) {
  return {
    "Clusters": integer(sizes.length),
    "Tokens in clusters": `${integer(tokens)} (${percent(tokens / Math.max(1, total))})`,
    "Largest": sizes.length ? integer(sizes.reduce((a, b) => Math.max(a, b))) : "–",
    "Median size": fixed(median(sizes), 0),
    "Median conductance": fixed(median(conductances), 3),
  };
}

function comparison({ map, clusters }) {
  if (map.is_control) return [element("p", "empty", "This is the nβ = 0 control itself: clusters that noise gives which never looked at the loss.")];
  if (!map.control) {
    const said = map.control_measured ? "was measured, but has no clusters of this name" : "was not run";
    return [element("p", "empty", `The nβ = 0 control ${said}: these clusters cannot be told from what noise alone would give.`)];
  }
  const own = numbers([...clusters.size.values], map.clusters.tokens ?? NaN, clusters.conductance.values, map.tokens.total);
  const other = numbers(map.control.sizes, map.control.tokens ?? NaN, map.control.conductances, map.tokens.total);
  return [
    element("p", "help", "The same tokens measured with nβ = 0, noise that never looked at the loss: only what goes beyond it may be credited to the posterior."),
    table(["", "run", "nβ = 0"], Object.keys(own).map((name) => [name, own[name], other[name]]))];
}

function reliability({ map }) {
  if (!map.reliability?.length) return [];
  const values = map.reliability.map((value) => value ?? NaN);
  const meaning = (value) => (Number.isNaN(value) ? "not known" : "correlation of two disjoint halves of the chains");
  return [
    element("h3", "", "Reliability of the columns", element("small", "", `median ${fixed(median(map.reliability), 2)}`)),
    element("p", "help", "At 1 other draws would give the same column of χ; near 0 it is noise and says nothing about tokens."),
    element("figure", "", profile(values, map.components, { name: "Reliability by component", meaning, isPlain: true }))];
}

export function drawAbout(world) {
  const { map } = world;
  const facts = element("dl", "facts", ...map.facts.flatMap(([name, value]) => [element("dt", "", name), element("dd", "", String(value))]));
  const drawn = map.tokens.count < map.tokens.total ? `${integer(map.tokens.count)} of ${integer(map.tokens.total)} tokens are drawn, chosen at random.` : `All ${integer(map.tokens.total)} tokens are drawn.`;
  const later = map.assigned ? [element("p", "soft", `${integer(map.assigned.tokens)} of ${integer(map.assigned.of)} tokens that were added after the clusters were found were assigned to them (drawn fainter; search for assigned:).`)] : [];
  const details = element("details", "", element("summary", "", "Configuration and versions"), element("pre", "", map.provenance));
  const layout = element("details", "", element("summary", "", "How positions were made"), element("pre", "", JSON.stringify(map.layout ?? {}, null, 2)));
  byId("about").replaceChildren(
    element("h2", "", "This run"), facts, element("p", "soft", drawn), ...later,
    element("h3", "", "The control"), ...comparison(world), ...reliability(world),
    element("h3", "", "Provenance"), details, layout);
}
