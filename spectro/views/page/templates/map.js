// The cluster map on its canvas: a sample of the tokens, rings for the clusters that have cards.
let drawRequested = false, hovered = null, ink = {};

const RINGS = [...DATA.points.at.keys()].filter((id) => DATA.points.at[id][0] !== null && id < NUM_ROWS);
const colourVariable = (subset) => `--s${subset % NUM_COLOURS}`;

function requestDraw() {
  if (drawRequested) return;
  drawRequested = true;
  requestAnimationFrame(() => { drawRequested = false; drawMap(); });
}

function readInk() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  ink = { text: read("--ink"), paper: read("--raised"), faint: read("--dot"), mono: read("--mono"),
    subsets: DATA.subsets.map((_, subset) => read(colourVariable(subset))) };
  requestDraw();
}

const radius = (id) => (4 + 0.036 * Math.min(view.width, view.height) * Math.sqrt(ROWS.size[id] / ROWS.size[0])) * Math.pow(view.scale, 0.45);
const isFocus = (id) => id === hovered || id === state.open;
const nameOf = (id) => (ROWS.tops[id].length ? shorten(label(ROWS.tops[id][0]), 14) : `#${id}`);

function drawMap() {
  const pen = byId("canvas").getContext("2d");
  pen.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
  pen.clearRect(0, 0, view.width, view.height);
  drawTokens(pen);
  for (const id of RINGS) drawRing(pen, id);
  drawLabels(pen);
}

function drawTokens(pen) {
  const { x, y, cluster, subset } = DATA.points, dotSize = 1.5 * Math.pow(view.scale, 0.35), isNarrowed = isFiltered();
  for (let i = 0; i < x.length; i++) {
    if (state.hidden.has(subset[i])) continue;
    const px = screenX(x[i]), py = screenY(y[i]), own = cluster[i];
    if (px < -4 || py < -4 || px > view.width + 4 || py > view.height + 4) continue;
    const isDim = own >= 0 ? !isShown(own) : isNarrowed;
    pen.globalAlpha = isDim ? 0.1 : own < 0 ? 0.38 : hovered === null || own === hovered ? 0.72 : 0.35;
    pen.fillStyle = own < 0 ? ink.faint : ink.subsets[subset[i]];
    mark(pen, px, py, own < 0 ? dotSize * 0.8 : dotSize, own >= 0 && isSecondRound(subset[i]));
    pen.fill();
  }
  pen.globalAlpha = 1;
}

function mark(pen, x, y, half, isDiamond) {
  pen.beginPath();
  if (!isDiamond) return pen.arc(x, y, half, 0, 2 * Math.PI);
  pen.moveTo(x, y - half * 1.25);
  for (const [dx, dy] of [[1.25, 0], [0, 1.25], [-1.25, 0]]) pen.lineTo(x + dx * half, y + dy * half);
  pen.closePath();
}

function drawRing(pen, id) {
  const isLit = isShown(id), focus = isFocus(id), [x, y] = DATA.points.at[id];
  mark(pen, screenX(x), screenY(y), radius(id), isSecondRound(ROWS.subset[id]));
  pen.fillStyle = pen.strokeStyle = ink.subsets[ROWS.subset[id]];
  pen.globalAlpha = isLit ? (focus ? 0.3 : 0.12) : 0.02;
  pen.fill();
  pen.globalAlpha = isLit ? 1 : 0.12;
  pen.lineWidth = focus ? 3 : 1.4;
  pen.stroke();
  pen.globalAlpha = 1;
}

// Names where there is room for them, the largest first.
function drawLabels(pen) {
  pen.font = `12px ${ink.mono}`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.lineJoin = "round";
  const taken = [];
  for (const id of RINGS.filter(isShown).sort((a, b) => isFocus(b) - isFocus(a) || a - b)) {
    const text = nameOf(id), [gridX, gridY] = DATA.points.at[id];
    const x = screenX(gridX), y = screenY(gridY) + radius(id) + 9;
    const half = pen.measureText(text).width / 2 + 3;
    const box = [x - half, y - 9, x + half, y + 9];
    if (taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) continue;
    taken.push(box);
    pen.strokeStyle = ink.paper;
    pen.lineWidth = 4;
    pen.globalAlpha = 0.85;
    pen.strokeText(text, x, y);
    pen.globalAlpha = 1;
    pen.fillStyle = ink.text;
    pen.fillText(text, x, y);
  }
}

// The smallest lies on top.
function ringAt(x, y) {
  const hits = RINGS.filter((id) => isShown(id) &&
    Math.hypot(screenX(DATA.points.at[id][0]) - x, screenY(DATA.points.at[id][1]) - y) <= Math.max(radius(id), 7));
  return hits.length ? hits.at(-1) : null;
}

function pointAt(x, y) {
  let best = -1, least = 6;
  DATA.points.x.forEach((gridX, i) => {
    const distance = Math.hypot(screenX(gridX) - x, screenY(DATA.points.y[i]) - y);
    if (distance < least && !state.hidden.has(DATA.points.subset[i])) { least = distance; best = i; }
  });
  return best;
}

// The cluster of a ring, or that of a token, if the table has it.
function clusterAt(x, y, point) {
  const own = ringAt(x, y) ?? (point < 0 ? -1 : DATA.points.cluster[point]);
  return own >= 0 && own < NUM_ROWS ? own : null;
}

function hover(id) {
  if (id === hovered) return;
  hovered = id;
  requestDraw();
}

function hoverMap(x, y, event) {
  if (x === null) { hideTooltip(); return hover(null); }
  const point = pointAt(x, y), id = clusterAt(x, y, point);
  hover(id);
  byId("canvas").style.cursor = id === null ? "grab" : "pointer";
  if (id === null && point < 0) return hideTooltip();
  tooltipAt(event.clientX, event.clientY, ...(id === null ? [] : clusterTip(id)), ...(point >= 0 ? pointTip(point) : []));
}

const clusterTip = (id) => [
  element("div", "", element("strong", "", `#${id}`), ` ${integer(ROWS.size[id])} tokens`),
  element("div", "", ...ROWS.tops[id].slice(0, 5).map((y) => token(y))),
  element("div", "tip-foot", swatch(ROWS.subset[id]), `${subsetName(id)} ${percent(ROWS.purity[id])}`),
];

const pointTip = (point) => [element("div", "tip-foot", swatch(DATA.points.subset[point]), "y = ", token(DATA.points.token[point]),
  DATA.points.cluster[point] < 0 ? " in no cluster" : "")];

function startMap() {
  const canvas = byId("canvas");
  new ResizeObserver(() => {
    const box = canvas.getBoundingClientRect();
    Object.assign(view, { width: box.width, height: box.height, ratio: devicePixelRatio || 1 });
    canvas.width = Math.round(box.width * view.ratio);
    canvas.height = Math.round(box.height * view.ratio);
    drawMap();
  }).observe(canvas);
  listenForMoves(canvas, hoverMap, (x, y) => {
    const id = clusterAt(x, y, pointAt(x, y));
    if (id !== null) openCard(id);
  });
  byId("zoom-in").addEventListener("click", () => zoomBy(1.5));
  byId("zoom-out").addEventListener("click", () => zoomBy(1 / 1.5));
  byId("zoom-all").addEventListener("click", showAll);
  onChange(requestDraw);
}
