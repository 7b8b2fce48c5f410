// Reliability of each column, the most reliable first, and what the clustering asked of it.
import { byId, element, fixed, isKnown, median, svg, table, withTooltip, words } from "./dom.js";

const MOST_NAMED = 60;

// What is known of the columns, the control's reliability by component beside it.
const columnsOf = ({ map, report }) => ({
  components: map.components, reliability: map.reliability, centred: null, meanPhi: null, llc: null, llcError: null, halfWidth: null, threshold: null, leftOut: [], vectors: [],
  ...report.columns, control: report.control?.columns ?? null });

export function drawReliability(world) {
  const columns = columnsOf(world), { components, reliability, centred, threshold } = columns;
  const main = centred ?? reliability, height = 150, from = 40;
  const order = [...components.keys()].filter((column) => isKnown(main[column])).sort((a, b) => main[b] - main[a] || a - b);
  const unknown = [...components.keys()].filter((column) => !isKnown(main[column]));
  const width = Math.max(2.5, Math.min(30, 1120 / Math.max(1, order.length))), end = from + width * Math.max(1, order.length) + 6;
  const yOf = (value) => height - Math.max(0, value) * height;
  const picture = svg("svg", { role: "img", "aria-label": `Reliability of ${order.length} columns, from ${fixed(main[order[0]], 2)} to ${fixed(main[order.at(-1)], 2)}` });
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    picture.append(svg("line", { x1: from - 6, x2: end, y1: yOf(tick), y2: yOf(tick), class: tick ? "grid" : "axis" }), words(from - 12, yOf(tick) + 4, tick, "end"));
  }
  order.forEach((column, i) => picture.append(columnBar(columns, column, from + i * width, width, yOf, height)));
  if (threshold !== null) picture.append(svg("line", { x1: from - 6, x2: end, y1: yOf(threshold), y2: yOf(threshold), class: "threshold" }));
  const named = width >= 14;
  picture.setAttribute("viewBox", `0 -8 ${end + 4} ${height + (named ? 60 : 14)}`);
  picture.setAttribute("width", end + 4);
  byId("reliability").append(reliabilityKey(columns), element("div", "scroll", picture), reliabilityWords(columns, order, unknown, main), columnTable(columns, order, unknown));
}

function columnBar(columns, column, x, width, yOf, height) {
  const { components, reliability, centred, threshold } = columns, value = (centred ?? reliability)[column], name = components[column];
  const gap = width >= 6 ? 0.14 * width : 0.4, isBelow = threshold !== null && value < threshold;
  const group = svg("g", {}, svg("rect", { x, y: 0, width, height, class: "catch" }),
    svg("rect", { x: x + gap, y: Math.min(yOf(value), height - 1.5), width: width - 2 * gap, height: Math.max(1.5, height - yOf(value)), class: isBelow ? "bar-below" : "bar-real" }));
  if (centred && isKnown(reliability[column])) group.append(svg("line", { x1: x, x2: x + width, y1: yOf(reliability[column]), y2: yOf(reliability[column]), class: "mark-raw" }));
  if (width >= 14) group.append(svg("g", { transform: `translate(${x + width / 2 + 3} ${height + 8}) rotate(-60)` }, words(0, 0, name, "end")));
  withTooltip(group, () => [element("strong", "", name), ...columnFacts(columns, column).map(([said, value]) => element("div", "", `${said} ${value}`))]);
  return group;
}

const scientific = (value) => (!isKnown(value) ? "–" : value === 0 ? "0" : Math.abs(value) >= 0.01 && Math.abs(value) < 1000 ? value.toPrecision(3) : value.toExponential(1));

// [[what, value], ...] of a column, the control's reliability too.
function columnFacts({ components, reliability, centred, meanPhi, llc, llcError, halfWidth, interval, control }, column) {
  const other = control ? control.components.indexOf(components[column]) : -1;
  return [
    ...(centred ? [["row-centred reliability", fixed(centred[column], 3)]] : []),
    ["reliability", fixed(reliability[column], 3)],
    ...(other >= 0 ? [["control's reliability", fixed(control.reliability[other], 3)]] : []),
    ...(meanPhi ? [["mean φ, nats", scientific(meanPhi[column])]] : []),
    ...(llc && isKnown(llc[column]) ? [["local learning coefficient", scientific(llc[column]) + (isKnown(llcError?.[column]) ? " ± " + scientific(llcError[column]) : "")]] : []),
    ...(halfWidth ? [[`± of χ (${interval})`, scientific(halfWidth[column])]] : [])];
}

function reliabilityKey({ reliability, centred, threshold, control }) {
  const one = (mark, text) => element("span", "", element("i", mark), text);
  return element("p", "keys", one("key-real", `${centred ? "row-centred" : "reliability"}, median ${fixed(median(centred ?? reliability), 2)}`),
    ...(centred ? [one("key-raw", `as measured, median ${fixed(median(reliability), 2)}`)] : []),
    ...(threshold === null ? [] : [one("key-threshold", `asked by the clustering, ${threshold}`)]),
    ...(control ? [element("span", "", `control as measured, median ${fixed(median(control.reliability), 2)}`)] : []));
}

function reliabilityWords({ components, vectors, threshold, leftOut }, order, unknown, main) {
  const said = [...vectors];
  const named = (columns) => columns.slice(0, MOST_NAMED).join(", ") + (columns.length > MOST_NAMED ? ` and ${columns.length - MOST_NAMED} more` : "");
  const below = threshold === null ? [] : order.filter((column) => main[column] < threshold).map((column) => components[column]);
  if (threshold === null) said.push("The clustering asked no least reliability of a column (cluster.min_reliability).");
  else said.push(below.length ? `Below ${threshold}: ${named(below)}.` : `No column is below the ${threshold} that the clustering asked (cluster.min_reliability).`);
  if (leftOut.length) said.push(`The clusters were found without ${named(leftOut)}.`);
  if (unknown.length) said.push(`Not known, which takes two chains: ${named(unknown.map((column) => components[column]))}.`);
  return element("p", "said", said.join(" "));
}

// All numbers, for reading; made when it is asked for.
function columnTable(columns, order, unknown) {
  const place = element("div", "scroll"), node = element("details", "", element("summary", "", "Every column in numbers"), place);
  node.addEventListener("toggle", () => {
    if (place.childNodes.length || !columns.components.length) return;
    const all = [...order, ...unknown];
    place.append(table(["component", ...columnFacts(columns, all[0]).map(([said]) => said)],
      all.map((column) => [columns.components[column], ...columnFacts(columns, column).map(([, value]) => value)])));
  });
  return node;
}
