// Names over the map: regions while one sees much, the largest clusters that find room, one name
// once in a region. Text nodes, so that scripts are shaped and ordered by the browser.
import { byId, element } from "./dom.js";
import { SIDE } from "./scene.js";
import { model } from "./model.js";
import { state } from "./state.js";
import { nameText } from "./names.js";
import { label, shorten, shown } from "./text.js";

const MOST = 70, MOST_TRIED = 6000;
const CHARACTER = { region: 9, cluster: 7.3 }, HEIGHT = 17; // pixels, of the style sheet's fonts
const REGIONS_UNTIL = 2; // steps of zoom beyond the view of all
let pool = [];

function clusterName(world, id) {
  const { top_tokens: top } = world.clusters, first = top.values[id * top.width];
  return shorten(nameText(world, id), 26) || (first >= 0 ? shorten(label(first), 14) : `#${id}`);
}

function place(view, kind, [x, y], text, offset, taken) {
  const [at, top] = view.toScreen(x, y), half = ([...text].length * (CHARACTER[kind] ?? CHARACTER.cluster)) / 2 + 3, down = top + offset;
  const width = view.node.clientWidth;
  if (at < 0 || at > width || down < -HEIGHT || down > view.node.clientHeight + HEIGHT) return null;
  const left = Math.max(half, Math.min(at, width - half));
  const box = [left - half, down - HEIGHT / 2, left + half, down + HEIGHT / 2];
  if (taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) return null;
  taken.push(box);
  return [left, down];
}

function wanted(view) {
  const { world, scene } = view, found = [], taken = [], { clusters } = world;
  const offset = (id) => Math.min(Math.max(scene.radii[id] * 2 ** view.at.zoom, 3), 64) + 9;
  const add = (kind, at, text, nodes, below) => {
    if (found.length === MOST) return;
    const spot = place(view, kind, at, text, below, taken);
    if (spot) found.push({ kind, spot, text, nodes });
  };
  const addCluster = (id, kind) => {
    const name = clusterName(world, id);
    add(kind, [clusters.x.values[id], clusters.y.values[id]], name, () => [name], offset(id));
  };
  for (const id of [state.open, scene.hover]) if (id !== null) addCluster(id, "cluster focus");
  const all = Math.log2(Math.min(view.node.clientWidth, view.node.clientHeight) / SIDE);
  const regions = world.regions.filter((region) => state.region === null || region.id === state.region);
  if (view.at.zoom < all + REGIONS_UNTIL) {
    for (const region of [...regions].sort((a, b) => b.size - a.size)) add("region", region.at, shorten(region.plain, 26), () => shown(region.name), 0);
  }
  const order = scene.bySize, most = Math.min(order.length, MOST_TRIED), written = new Set();
  for (let n = 0; n < most && found.length < MOST; n++) {
    const id = order[n], key = `${clusters.region.values[id]} ${clusterName(world, id)}`, before = found.length;
    if (!model.pass.clusters[id] || !isLit(id) || written.has(key)) continue;
    addCluster(id, "cluster");
    if (found.length > before) written.add(key);
  }
  return found;
}

function isLit(id) {
  const { found, tally } = model;
  if (state.selection) return tally.selectedFlags[id];
  return !found || found.clusters[id] || (found.vocabulary && tally.matchesOf[id]);
}

export function drawLabels(view) {
  const found = wanted(view), parent = byId("labels");
  while (pool.length < found.length) pool.push(parent.appendChild(element("span", "")));
  pool.forEach((node, index) => {
    const one = found[index];
    node.hidden = !one;
    if (!one) return;
    if (node.dataset.text !== `${one.kind} ${one.text}`) {
      node.dataset.text = `${one.kind} ${one.text}`;
      node.className = `label ${one.kind}`;
      node.replaceChildren(...one.nodes());
    }
    node.style.transform = `translate(${one.spot[0].toFixed(1)}px, ${one.spot[1].toFixed(1)}px) translate(-50%, -50%)`;
  });
}
