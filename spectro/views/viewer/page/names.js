// Names of clusters: from a file or by a rule; where there is none the most common tokens are shown.
import { top } from "./data.js";
import { element, fixed, integer, isKnown, percent, table } from "./dom.js";
import { glyphs, shown, token } from "./text.js";

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
