// What is known of the token under the pointer or the focus.
import { byId, element, fixed, hideTooltip, integer, tooltipAt } from "./dom.js";
import { DATA, colourOf, limitOf, rawOf, shownBands, valueOf, valueOn } from "./state.js";
import { token } from "./text.js";

const minus = (text) => text.replace("-", "−");
export const short = (value) => (value === null ? "–" : minus(String(Number(value.toPrecision(3)))));
const withSign = (value) => (value === null ? "–" : `${value > 0 ? "+" : ""}${short(value)}`);

// Half the token's own interval where it was measured, else that of its column: not the same thing.
function halfWidthOf(column, token) {
  if (DATA.halfWidth !== null) return `± ${short(DATA.halfWidth[column][token])}`;
  const typical = DATA.columnHalfWidth[column];
  return typical === null ? "" : `± ${short(typical)} *`;
}

function tipRow(column, token) {
  const mark = element("span", "mark");
  mark.style.background = colourOf(valueOf(column, token), limitOf(column));
  const cell = (text) => element("td", "", text);
  return element("tr", "",
    element("th", "", mark, DATA.components[column]),
    cell(withSign(rawOf(column, token))), cell(halfWidthOf(column, token)),
    cell(withSign(valueOn("standardised", column, token))),
    ...(DATA.scales.includes("centred") ? [cell(withSign(valueOn("centred", column, token)))] : []),
    cell(short(DATA.reliability[column])));
}

function tipTable(number) {
  const names = ["", "χ", "±", "standardised", ...(DATA.scales.includes("centred") ? ["centred"] : []), "reliability"];
  return element("table", "",
    element("thead", "", element("tr", "", ...names.map((name) => element("th", "", name)))),
    element("tbody", "", ...shownBands().map((column) => tipRow(column, number))));
}

function tipContent(number) {
  const head = element("div", "", token(DATA.tokens[number]), ` token ${integer(number)}`);
  if (DATA.loss[number] === null) return [head, element("small", "", "context alone: nothing before it predicts it")];
  head.append(` · loss ${fixed(DATA.loss[number], 2)} nats`);
  const rows = shownBands().length ? [tipTable(number)] : [];
  const typical = DATA.halfWidth === null ? "; * typical of the column over the run" : "";
  if (rows.length) rows.push(element("small", "", `± ${DATA.interval}${typical}`));
  return [head, ...rows];
}

export function startTips() {
  const flow = byId("text");
  const tokenOf = (event) => event.target.closest?.(".t");
  flow.addEventListener("pointermove", (event) => {
    const span = tokenOf(event);
    if (span) tooltipAt(event.clientX, event.clientY, ...tipContent(Number(span.dataset.token)));
    else hideTooltip();
  });
  flow.addEventListener("pointerleave", hideTooltip);
  flow.addEventListener("focusin", (event) => {
    const span = tokenOf(event);
    if (!span) return;
    const box = span.getBoundingClientRect();
    tooltipAt(box.left, box.bottom - 10, ...tipContent(Number(span.dataset.token)));
  });
  flow.addEventListener("focusout", hideTooltip);
}
