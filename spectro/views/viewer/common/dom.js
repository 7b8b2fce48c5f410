// Small helpers. All text enters the page as text nodes: no markup is ever built from strings.
export const byId = (id) => document.getElementById(id);

export function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const SVG = "http:" + "//www.w3.org/2000/svg"; // a name, not an address

export function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export const words = (x, y, text, anchor, className = "") =>
  svg("text", { x, y, "text-anchor": anchor, class: className }, document.createTextNode(text));

export function button(className, label, onClick) {
  const node = element("button", className, label);
  node.type = "button";
  node.addEventListener("click", onClick);
  return node;
}

export function table(head, rows) {
  const cells = (row, isHead) => row.map((cell, index) => {
    const node = element(isHead || !index ? "th" : "td", "", cell);
    if (node.tagName === "TH") node.scope = isHead ? "col" : "row";
    return node;
  });
  return element("table", "", element("thead", "", element("tr", "", ...cells(head, true))),
    element("tbody", "", ...rows.map((row) => element("tr", "", ...cells(row, false)))));
}

// NaN and null are "not known".
export const isKnown = (value) => value !== null && value !== undefined && !Number.isNaN(value);
export const integer = (value) => (isKnown(value) ? value.toLocaleString("en-US") : "–");
export const fixed = (value, digits) => (isKnown(value) ? value.toFixed(digits) : "–");
export const signed = (value) => (isKnown(value) ? `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}` : "–");
export const sum = (values) => values.reduce((total, value) => total + value, 0);

export function percent(share) {
  if (!isKnown(share)) return "–";
  return share > 0 && share < 0.005 ? "< 1 %" : `${Math.round(100 * share)} %`;
}

export function median(values) {
  const known = [...values].filter(isKnown).sort((a, b) => a - b);
  if (!known.length) return null;
  const middle = known.length >> 1;
  return known.length % 2 ? known[middle] : (known[middle - 1] + known[middle]) / 2;
}

export function tooltipAt(x, y, ...children) {
  const tip = byId("tooltip");
  tip.replaceChildren(...children);
  tip.hidden = false;
  const width = tip.offsetWidth, height = tip.offsetHeight;
  tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? Math.max(8, y - height - 12) : y + 18}px`;
}

export function hideTooltip() {
  byId("tooltip").hidden = true;
}

export function withTooltip(node, content) {
  node.addEventListener("pointermove", (event) => tooltipAt(event.clientX, event.clientY, ...content()));
  node.addEventListener("pointerleave", hideTooltip);
  node.addEventListener("focus", () => {
    const box = node.getBoundingClientRect();
    tooltipAt(box.left + box.width / 2, box.bottom - 12, ...content());
  });
  node.addEventListener("blur", hideTooltip);
}
