// Small pictures that several pages share. Eight hues (docs/adr/032-showing-tokens-and-colours.md),
// repeated with a mark.
import { element, integer, percent, sum, withTooltip } from "./dom.js";
import { profile, strongest } from "./profile.js";

export const NUM_COLOURS = 8;
const isSecondRound = (index) => index >= NUM_COLOURS;

// A subset's mark: a disc for the first eight, a diamond for the next.
export function swatch(subset) {
  const node = element("span", isSecondRound(subset) ? "swatch diamond" : "swatch");
  node.style.background = `var(--s${subset % NUM_COLOURS})`;
  return node;
}

// Shares of the subsets as a bar, and the largest in words.
export function subsetBar(names, counts) {
  const total = Math.max(1, sum(counts));
  const order = [...counts.keys()].filter((subset) => counts[subset]).sort((a, b) => counts[b] - counts[a]);
  const bar = element("div", "stack", ...order.map((subset) => {
    const part = element("span", isSecondRound(subset) ? "striped" : "");
    part.style.flexGrow = counts[subset];
    part.style.background = `var(--s${subset % NUM_COLOURS})`;
    withTooltip(part, () => [element("span", "", swatch(subset), ` ${names[subset]} ${integer(counts[subset])}, ${percent(counts[subset] / total)}`)]);
    return part;
  }));
  const said = element("p", "stack-words", ...order.slice(0, 4).map((subset) =>
    element("span", "", swatch(subset), `${names[subset]} ${percent(counts[subset] / total)}`)));
  if (order.length > 4) said.append(element("span", "", `+${order.length - 4}`));
  return [bar, said];
}

// A number with its name.
export function stat(value, name, help) {
  const node = element("div", "stat", element("b", "", value), element("span", "", name));
  node.title = help;
  return node;
}

// Mean standardised χ by component: the strongest in words, the picture, what its colours mean.
export function chiPicture(values, components) {
  return [
    element("figcaption", "", strongest(values, components)),
    profile(values, components, { name: "Mean standardised χ by component", least: 0.5 }),
    element("p", "key", element("span", "key-negative"), "below zero: expression, supports y ", element("span", "key-positive"), "above: suppression")];
}
