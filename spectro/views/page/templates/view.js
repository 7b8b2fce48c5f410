// Where the map's unit square lies on the canvas: pan, zoom, pinch, keys.
const view = { scale: 1, x: 0, y: 0, width: 0, height: 0, ratio: 1 };
const PAD = 34;

const side = () => Math.min(view.width, view.height) - 2 * PAD;
const screenX = (gridX) => view.x + (view.width - side()) / 2 + (gridX / DATA.grid - 0.5) * side() * (view.scale - 1) + (gridX / DATA.grid) * side();
const screenY = (gridY) => view.y + (view.height - side()) / 2 + (0.5 - gridY / DATA.grid) * side() * (view.scale - 1) + (1 - gridY / DATA.grid) * side();

function zoomBy(factor, atX = view.width / 2, atY = view.height / 2) {
  const scale = Math.min(40, Math.max(0.6, view.scale * factor)), ratio = scale / view.scale;
  view.x = (atX - view.width / 2) * (1 - ratio) + view.x * ratio;
  view.y = (atY - view.height / 2) * (1 - ratio) + view.y * ratio;
  view.scale = scale;
  requestDraw();
}

function panBy(dx, dy) {
  view.x += dx;
  view.y += dy;
  requestDraw();
}

function showAll() {
  Object.assign(view, { scale: 1, x: 0, y: 0 });
  requestDraw();
}

function centreOn([gridX, gridY]) {
  view.scale = Math.max(view.scale, 2);
  view.x += view.width / 2 - screenX(gridX);
  view.y += view.height / 2 - screenY(gridY);
  requestDraw();
}

const KEYS = {
  ArrowLeft: () => panBy(60, 0), ArrowRight: () => panBy(-60, 0),
  ArrowUp: () => panBy(0, 60), ArrowDown: () => panBy(0, -60),
  "+": () => zoomBy(1.4), "=": () => zoomBy(1.4), "-": () => zoomBy(1 / 1.4), 0: showAll,
};

function listenForMoves(canvas, onHover, onClick) {
  const pointers = new Map();
  let travelled = 0;
  const local = (event) => [event.offsetX, event.offsetY];
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, local(event));
    if (pointers.size === 1) travelled = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = local(event), last = pointers.get(event.pointerId);
    if (!last) return onHover(x, y, event);
    const dx = x - last[0], dy = y - last[1];
    travelled += Math.hypot(dx, dy);
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    pointers.set(event.pointerId, [x, y]);
    if (!other) return panBy(dx, dy);
    const before = Math.hypot(last[0] - other[0], last[1] - other[1]);
    zoomBy(Math.hypot(x - other[0], y - other[1]) / Math.max(before, 1), (x + other[0]) / 2, (y + other[1]) / 2);
    panBy(dx / 2, dy / 2);
  });
  const release = (event) => {
    const wasClick = pointers.delete(event.pointerId) && travelled < 5 && event.type === "pointerup";
    if (wasClick) onClick(...local(event));
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => onHover(null));
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas && !event.ctrlKey && !event.metaKey) return; // let the page scroll
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), ...local(event));
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => zoomBy(1.8, ...local(event)));
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
    event.preventDefault();
    KEYS[event.key]();
  });
}
