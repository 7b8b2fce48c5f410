// Names of clusters: from a file or by a rule; where there is none the most common tokens are shown.
import { row, top } from "./data.js";
import { element, fixed, integer, isKnown, percent, table } from "./dom.js";
import { glyphs, shown, token } from "./text.js";

const MOST_NAMES = 3;

export const nameOf = ({ names }, id) => names.shown[id] ?? "";
export const nameText = (world, id) => glyphs(nameOf(world, id));

export function nameNodes(world, id, most) {
  const name = nameOf(world, id);
  return name ? [element("span", "set-name tok", ...shown(name))] : top(world, id, most).map(([y]) => token(y));
}

// What a name says and how well it predicts who is in the cluster, for its card.
export function nameLines(world, id) {
  const { names, clusters } = world, name = nameOf(world, id), by = names.named_by[id];
  const of = (column) => clusters[column].values[id];
  if (!name) return [element("p", "soft", "No rule predicts who is in it better than chance.")];
  const score = isKnown(of("name_f1")) ? `F1 ${fixed(of("name_f1"), 2)} on held-out sequences: ${percent(of("name_precision"))} of the tokens it names are members, ${percent(of("name_recall"))} of the members are named` : "not judged: no members in held-out sequences";
  const isGiven = names.source[id] === "file";
  return [
    element("p", "set-name tok", ...shown(name)),
    element("p", "soft", isGiven ? element("span", "", "from a file", ...(by ? [", named by ", element("span", "tok", ...shown(by))] : [])) : `by a rule; ${score}`),
    ...(isGiven && names.rule[id] ? [element("p", "soft", "by a rule: ", element("span", "tok", ...shown(names.rule[id])), `; ${score}`)] : []),
  ];
}

const f1Of = ({ selected }, { both, named }) => (2 * both) / Math.max(1, selected + named);
const better = (tally) => (a, b) => (f1Of(tally, b) > f1Of(tally, a) ? b : a);

// The clusters with names that predict best, by F1, which of the tokens drawn are selected: one
// after the other, as long as F1 rises.
function fittingClusters(world, tally) {
  const { selectedOf, drawnOf } = tally, ids = [...selectedOf.keys()].filter((id) => selectedOf[id] && nameOf(world, id));
  let fit = { ids: [], both: 0, named: 0 };
  while (fit.ids.length < MOST_NAMES) {
    const more = ids.filter((id) => !fit.ids.includes(id)).map((id) => ({ ids: [...fit.ids, id], both: fit.both + selectedOf[id], named: fit.named + drawnOf[id] }));
    const best = more.reduce(better(tally), fit);
    if (best === fit) break;
    fit = best;
  }
  return { ...fit, names: fit.ids.map((id) => nameOf(world, id)) };
}

// The same of the clusters of one region with a name; others have been numbered (main.js).
function fittingRegion({ clusters, regions }, tally) {
  const named = regions.filter(({ id, name }) => name !== `region ${id}`);
  const fits = new Map(named.map(({ id, name }) => [id, { names: [name], isRegion: true, both: 0, named: 0 }]));
  clusters.region.values.forEach((region, id) => {
    const fit = fits.get(region);
    if (fit) { fit.both += tally.selectedOf[id]; fit.named += tally.drawnOf[id]; }
  });
  return [...fits.values()].reduce(better(tally), { names: [], both: 0, named: 0 });
}

// A cluster of which these are the cluster itself and its neighbours.
function centreOf({ clusters }, ids) {
  const wanted = new Set(ids);
  return ids.find((id) => {
    const near = [...row(clusters.neighbours, id)].filter((other) => other >= 0);
    return near.length + 1 === wanted.size && near.every((other) => wanted.has(other));
  });
}

// The name of a selection: that of the clusters, or of the region, that fit it best, with how well
// they do; of a cluster with its neighbours also the name by a rule.
export function selectionName(world, tally, selection) {
  const fit = [fittingClusters(world, tally), fittingRegion(world, tally)].reduce(better(tally));
  const centre = centreOf(world, selection.clusters ?? []), around = world.names.neighbourhood[centre];
  const names = [...new Set(fit.names)].flatMap((name, index) => [index ? " + " : "", element("span", "tok", ...shown(name))]);
  const [them, their] = fit.isRegion ? ["this region", "its"] : ["these clusters", "their"];
  return [
    element("h3", "", "Name", element("small", "", `the clusters, at most ${MOST_NAMES}, or the region that fit best`)),
    ...(fit.both ? [
      element("p", "set-name", fit.isRegion ? "region " : "", ...names),
      element("p", "soft", `F1 ${fixed(f1Of(tally, fit), 2)} over the tokens drawn: ${percent(fit.both / tally.selected)} of those selected are in ${them}, ${percent(fit.both / fit.named)} of ${their} tokens are selected`),
    ] : [element("p", "soft", "No cluster or region with a name has tokens in it.")]),
    ...(around ? [element("p", "soft", "by a rule: ", element("span", "set-name tok", ...shown(around)), `; F1 ${fixed(world.clusters.neighbourhood_f1.values[centre], 2)} on held-out sequences`)] : []),
  ];
}

// How many clusters a reader would recognise by their names: a sentence, and shares by F1.
export function recognisable({ threshold, judged, recognisable: number, random, same_y: sameY, least_held_out: least, median_f1: median, curve }, control) {
  if (!judged) return [element("p", "said", "No cluster has enough members in held-out sequences to judge its name.")];
  const ofControl = control?.judged ? [[`clusters of the control, nβ = 0 (${integer(control.judged)})`, control.curve.sets]] : [];
  const rows = [[`clusters (${integer(judged)})`, curve.sets], ...ofControl, [`random sets of their sizes (${integer(random.judged)})`, curve.random], [`random sets of the same y (${integer(sameY.judged)})`, curve.same_y]];
  return [
    element("p", "said", `${integer(number)} of ${integer(judged)} clusters (${percent(number / judged)}) are recognisable: their name, a rule over tokens chosen on half of the sequences, ` +
      `predicts their members in the other half with F1 of at least ${fixed(threshold, 1)}; the median is ${fixed(median, 2)}. Judged are clusters with ${least} held-out members or more.`),
    table(["F1 at least", ...curve.f1.map((value) => fixed(value, 1))], rows.map(([name, shares]) => [name, ...curve.f1.map((_, index) => percent(shares?.[index]))])),
  ];
}
