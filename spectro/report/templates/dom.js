// Small helpers. All text enters the page as text nodes: no markup is ever built from strings.
const byId = (id) => document.getElementById(id);

function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const SVG = "http:" + "//www.w3.org/2000/svg"; // a name, not an address

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function button(className, label, onClick) {
  const node = element("button", className, label);
  node.type = "button";
  node.addEventListener("click", onClick);
  return node;
}

const integer = (value) => value.toLocaleString("en-US");
const percent = (share) => `${Math.round(100 * share)} %`;
const fixed = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const sum = (values) => values.reduce((total, value) => total + value, 0);

function median(values) {
  const known = values.filter((value) => value !== null).sort((a, b) => a - b);
  if (!known.length) return null;
  const middle = known.length >> 1;
  return known.length % 2 ? known[middle] : (known[middle - 1] + known[middle]) / 2;
}

function tooltipAt(x, y, ...children) {
  const tip = byId("tooltip");
  tip.replaceChildren(...children);
  tip.hidden = false;
  const width = tip.offsetWidth, height = tip.offsetHeight;
  tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? Math.max(8, y - height - 12) : y + 18}px`;
}

function hideTooltip() {
  byId("tooltip").hidden = true;
}

function withTooltip(node, content) {
  const show = (x, y) => tooltipAt(x, y, ...content());
  node.addEventListener("pointermove", (event) => show(event.clientX, event.clientY));
  node.addEventListener("pointerleave", hideTooltip);
  node.addEventListener("focus", () => {
    const box = node.getBoundingClientRect();
    show(box.left + box.width / 2, box.bottom - 12);
  });
  node.addEventListener("blur", hideTooltip);
}
