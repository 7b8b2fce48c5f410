// The cluster map on its canvas.
let drawRequested = false;
let ink = {};

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

const radius = (cluster) => {
  const largest = DATA.clusters.length ? DATA.clusters[0].size : 1;
  const shortest = Math.min(view.width, view.height);
  return (4 + 0.036 * shortest * Math.sqrt(cluster.size / largest)) * Math.pow(view.scale, 0.45);
};

const isFocus = (cluster) => cluster === state.hover || cluster === state.selected;

function drawMap() {
  const pen = byId("canvas").getContext("2d");
  pen.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
  pen.clearRect(0, 0, view.width, view.height);
  drawTokens(pen);
  const placed = DATA.clusters.filter((cluster) => cluster.at[0] !== null);
  for (const cluster of placed) drawRing(pen, cluster);
  drawLabels(pen, placed);
}

function drawTokens(pen) {
  const { x, y, cluster, subset } = DATA.points, size = 1.5 * Math.pow(view.scale, 0.35);
  const shown = DATA.clusters.map(isShown), searching = Boolean(state.query.trim());
  const focus = state.hover ? state.hover.index : -1;
  for (let i = 0; i < x.length; i++) {
    if (state.hidden.has(subset[i])) continue;
    const px = screenX(x[i]), py = screenY(y[i]), own = cluster[i];
    if (px < -4 || py < -4 || px > view.width + 4 || py > view.height + 4) continue;
    const dim = own >= 0 ? !shown[own] : searching;
    pen.globalAlpha = dim ? 0.1 : own < 0 ? 0.38 : focus < 0 || own === focus ? 0.72 : 0.35;
    pen.fillStyle = own < 0 ? ink.faint : ink.subsets[subset[i]];
    mark(pen, px, py, own < 0 ? size * 0.8 : size, own >= 0 && isSecondRound(subset[i]));
    pen.fill();
  }
  pen.globalAlpha = 1;
}

function mark(pen, x, y, size, isDiamond) {
  pen.beginPath();
  if (!isDiamond) return pen.arc(x, y, size, 0, 2 * Math.PI);
  pen.moveTo(x, y - size * 1.25);
  for (const [dx, dy] of [[1.25, 0], [0, 1.25], [-1.25, 0]]) pen.lineTo(x + dx * size, y + dy * size);
  pen.closePath();
}

function drawRing(pen, cluster) {
  const shown = isShown(cluster), focus = isFocus(cluster);
  mark(pen, screenX(cluster.at[0]), screenY(cluster.at[1]), radius(cluster), isSecondRound(cluster.dominant));
  pen.fillStyle = pen.strokeStyle = ink.subsets[cluster.dominant];
  pen.globalAlpha = shown ? (focus ? 0.3 : 0.12) : 0.02;
  pen.fill();
  pen.globalAlpha = shown ? 1 : 0.12;
  pen.lineWidth = focus ? 3 : 1.4;
  pen.stroke();
  pen.globalAlpha = 1;
}

// Names of the largest clusters that find room.
function drawLabels(pen, clusters) {
  pen.font = `12px ${ink.mono}`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.lineJoin = "round";
  const taken = [];
  const first = (a, b) => isFocus(b) - isFocus(a) || b.size - a.size;
  for (const cluster of clusters.filter(isShown).sort(first)) {
    const text = cluster.name;
    const x = screenX(cluster.at[0]), y = screenY(cluster.at[1]) + radius(cluster) + 9;
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

function clusterAt(x, y) {
  const hits = DATA.clusters.filter((cluster) => cluster.at[0] !== null && isShown(cluster) &&
    Math.hypot(screenX(cluster.at[0]) - x, screenY(cluster.at[1]) - y) <= Math.max(radius(cluster), 7));
  return hits.sort((a, b) => a.size - b.size)[0] ?? null; // the smallest lies on top
}

function pointAt(x, y) {
  let best = -1, least = 6;
  DATA.points.x.forEach((gridX, i) => {
    const distance = Math.hypot(screenX(gridX) - x, screenY(DATA.points.y[i]) - y);
    if (distance < least && !state.hidden.has(DATA.points.subset[i])) { least = distance; best = i; }
  });
  return best;
}

function hoverMap(x, y, event) {
  if (x === null) { hideTooltip(); return state.hover && change({ hover: null }); }
  const point = pointAt(x, y), cluster = clusterAt(x, y) ?? DATA.clusters[DATA.points.cluster[point]] ?? null;
  if (cluster !== state.hover) change({ hover: cluster });
  byId("canvas").style.cursor = cluster ? "pointer" : "grab";
  if (!cluster && point < 0) return hideTooltip();
  tooltipAt(event.clientX, event.clientY, ...(cluster ? clusterTip(cluster) : []), ...(point >= 0 ? pointTip(point) : []));
}

function clusterTip(cluster) {
  const share = cluster.subsets[cluster.dominant] / Math.max(1, sum(cluster.subsets));
  return [
    element("div", "tip-head", element("strong", "", `#${cluster.id}`), ` ${integer(cluster.size)} tokens`),
    element("div", "", ...cluster.top.slice(0, 5).map(([id]) => token(id))),
    element("div", "tip-foot", swatch(cluster.dominant), `${DATA.subsets[cluster.dominant]} ${percent(share)}`),
  ];
}

function pointTip(point) {
  return [element("div", "tip-foot", swatch(DATA.points.subset[point]), "y = ", token(DATA.points.token[point]),
    DATA.points.cluster[point] < 0 ? " in no cluster" : "")];
}

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
    const cluster = clusterAt(x, y) ?? DATA.clusters[DATA.points.cluster[pointAt(x, y)]];
    if (cluster) openCluster(cluster);
  });
  byId("zoom-in").addEventListener("click", () => zoomBy(1.5));
  byId("zoom-out").addEventListener("click", () => zoomBy(1 / 1.5));
  byId("zoom-all").addEventListener("click", showAll);
  onChange(requestDraw);
}
