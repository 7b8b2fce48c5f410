// The text as it flows: a span for each token, line ends as they are, bands as its background.
import { byId, element, hideTooltip } from "./dom.js";
import { DATA, colourOf, limitOf, shownBands, state, valueOf } from "./state.js";
import { GLYPHS, MARKS, piece } from "./text.js";

const spans = [];

// As shown, but a line ends where the text's line does.
function flowNodes(id) {
  return piece(id).split(MARKS).filter(Boolean).map((part) => {
    if (/^[\ue002-\ue004]/.test(part)) {
      return element("span", "ws", [...part].map((mark) => (mark === "\ue003" ? "⏎\n" : GLYPHS[mark])).join(""));
    }
    if (part[0] === "\ue000") return element("span", "esc", part.slice(1, -1));
    return part;
  });
}

export function drawText() {
  const starts = new Set(DATA.starts.slice(1)), flow = byId("text");
  DATA.tokens.forEach((id, token) => {
    if (/^[\ue002\ue004]/.test(piece(id))) flow.append(document.createElement("wbr"));
    const span = element("span", DATA.loss[token] === null ? "t alone" : "t", ...flowNodes(id));
    span.tabIndex = token === 0 ? 0 : -1;
    span.dataset.token = token;
    spans.push(span);
    flow.append(span);
    if (starts.has(token)) {
      const cut = element("span", "cut", "┆");
      cut.title = "A context ends: what follows is predicted from the token before this mark on";
      flow.append(cut);
    }
  });
}

export function paint() {
  const bands = shownBands();
  byId("text").dataset.bands = bands.length;
  document.documentElement.dataset.colours = state.colours;
  spans.forEach((span, token) => {
    const layers = bands.map((column) => colourOf(valueOf(column, token), limitOf(column)));
    span.style.backgroundImage = layers.map((colour) => `linear-gradient(${colour}, ${colour})`).join(", ");
  });
}

// One stop of the tab key for the whole text; arrows go on from there.
function goTo(token) {
  const target = spans[Math.max(0, Math.min(spans.length - 1, token))];
  for (const span of spans) span.tabIndex = span === target ? 0 : -1;
  target.focus();
}

export function startKeys() {
  const steps = { ArrowRight: 1, ArrowLeft: -1 };
  byId("text").addEventListener("keydown", (event) => {
    const token = Number(event.target.dataset.token);
    if (event.key in steps) goTo(token + steps[event.key]);
    else if (event.key === "Home") goTo(0);
    else if (event.key === "End") goTo(spans.length - 1);
    else if (event.key === "Escape") hideTooltip();
    else return;
    event.preventDefault();
  });
}
