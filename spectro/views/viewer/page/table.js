// The clusters as a table of which only the rows in sight are drawn. The table has the focus, a
// cursor within it says which row the keys mean.
import { LOOSE_MEANS } from "./colours.js";
import { subsetChips, rangeInputs } from "./controls.js";
import { button, byId, element, integer } from "./dom.js";
import { FIELDS, isLoose } from "./fields.js";
import { isDescending, model, onModel } from "./model.js";
import { change, isFiltered, NO_FILTER, onChange, state, touches } from "./state.js";

const ROW_HEIGHT = 33, ROWS_BESIDE = 8; // pixels, as in sections.css; rows drawn above and below

class Table {
  constructor(world, hover) {
    Object.assign(this, { world, hover, cursor: null, drawn: [0, 0], isDue: false, box: byId("rows"), node: byId("table") });
    byId("heads").append(...FIELDS.map(head));
    this.box.addEventListener("scroll", () => this.drawSoon(), { passive: true });
    new ResizeObserver(() => this.drawSoon()).observe(this.box);
    this.node.addEventListener("keydown", (event) => this.onKey(event));
    this.node.addEventListener("blur", () => hover(null));
    const body = byId("body"), idOf = (event) => event.target.closest("tr[data-id]")?.dataset.id;
    body.addEventListener("click", (event) => {
      const id = idOf(event);
      if (id === undefined || String(getSelection())) return;
      this.node.focus({ preventScroll: true });
      this.cursor = Number(id);
      if (state.open === this.cursor) this.draw();
      else change({ open: this.cursor, panel: "card" });
    });
    body.addEventListener("pointerover", (event) => { const id = idOf(event); hover(id === undefined ? null : Number(id)); });
    body.addEventListener("pointerleave", () => hover(null));
  }

  inSight() {
    const { scrollTop, clientHeight } = this.box, { length } = model.clusters;
    const first = Math.floor(scrollTop / ROW_HEIGHT) - ROWS_BESIDE, last = Math.ceil((scrollTop + clientHeight) / ROW_HEIGHT) + ROWS_BESIDE;
    return [Math.max(0, Math.min(first, length)), Math.min(length, last)];
  }

  draw() {
    const ids = model.clusters, [first, last] = this.drawn = this.inSight();
    byId("body").replaceChildren(...spacer(first), ...ids.slice(first, last).map((id, index) => this.row(id, first + index)), ...spacer(ids.length - last));
    this.node.setAttribute("aria-rowcount", ids.length + 1);
    if (this.cursor !== null && byId(`row-${this.cursor}`)) this.node.setAttribute("aria-activedescendant", `row-${this.cursor}`);
    else this.node.removeAttribute("aria-activedescendant");
    byId("none").hidden = ids.length > 0;
    byId("none").textContent = this.world.clusters.count ? "No cluster passes the search and the filters." : "No cluster was found in this run.";
    const { count } = this.world.clusters;
    byId("count").textContent = `${integer(ids.length)} of ${integer(count)} ${count === 1 ? "cluster" : "clusters"}`;
    byId("reset").replaceChildren(...(isFiltered() || state.query ? [button("link", "show all", () => change({ ...NO_FILTER, query: "" }))] : []));
  }

  drawSoon() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      if (this.inSight().join() !== this.drawn.join()) this.draw();
    });
  }

  row(id, position) {
    const node = element("tr", "", ...FIELDS.map((field) => element("td", field.isText ? "text" : "", ...field.show(this.world, id, model.tally))));
    node.id = `row-${id}`;
    node.dataset.id = id;
    node.setAttribute("aria-rowindex", position + 2); // the heads are the first
    node.setAttribute("aria-selected", String(id === state.open));
    node.classList.toggle("cursor", id === this.cursor);
    node.classList.toggle("loose", isLoose(this.world, id));
    if (isLoose(this.world, id)) node.title = `Cluster ${id} ${LOOSE_MEANS}`;
    return node;
  }

  // Brings a row into sight, below the heads.
  reveal(position) {
    const { box } = this, room = box.clientHeight - byId("heads").offsetHeight, top = position * ROW_HEIGHT;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + ROW_HEIGHT > box.scrollTop + room) box.scrollTop = top + ROW_HEIGHT - room;
  }

  // To the open cluster, if the table lists it.
  follow() {
    this.cursor = state.open;
    const position = model.clusters.indexOf(this.cursor);
    if (position >= 0) this.reveal(position);
  }

  moveTo(position) {
    const target = Math.max(0, Math.min(model.clusters.length - 1, position));
    if (target >= model.clusters.length) return;
    this.cursor = model.clusters[target];
    this.reveal(target);
    this.hover(this.cursor);
    this.draw();
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.node) return;
    const page = Math.max(1, Math.floor(this.box.clientHeight / ROW_HEIGHT) - 2), at = this.cursor === null ? -1 : model.clusters.indexOf(this.cursor);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (steps !== undefined) this.moveTo(at < 0 && steps < 0 ? 0 : at + steps);
    else if ((event.key === "Enter" || event.key === " ") && at >= 0) change({ open: this.cursor, panel: "card" });
    else return;
    event.preventDefault();
  }
}

function spacer(numRows) {
  if (numRows <= 0) return [];
  const cell = element("td", ""), node = element("tr", "spacer", cell);
  cell.colSpan = FIELDS.length;
  cell.style.height = `${numRows * ROW_HEIGHT}px`;
  node.setAttribute("aria-hidden", "true");
  return [node];
}

function head(field) {
  const node = element("th", field.isText ? "text" : "");
  node.scope = "col";
  node.dataset.key = field.key;
  const sort = button("", "", () => {
    const descending = state.sort === field.key ? !isDescending() : !field.rises;
    change({ sort: field.key, descending: descending === !field.rises ? null : descending });
  });
  sort.append(field.name, element("span", "arrow", ""));
  sort.title = field.title;
  node.append(sort);
  return node;
}

function drawHeads() {
  for (const node of byId("heads").children) {
    const isSorted = node.dataset.key === state.sort;
    node.setAttribute("aria-sort", isSorted ? (isDescending() ? "descending" : "ascending") : "none");
    node.querySelector(".arrow").textContent = isSorted ? (isDescending() ? " ↓" : " ↑") : "";
  }
}

function drawLeftOut({ map }) {
  const said = [];
  if (map.clusters.count < map.clusters.total) said.push(`This file has the ${integer(map.clusters.count)} largest of ${integer(map.clusters.total)} clusters (report.max_rows); spectro map has all.`);
  if (map.tokens.count < map.tokens.total) said.push(`The map has ${integer(map.tokens.count)} of ${integer(map.tokens.total)} tokens, chosen at random.`);
  byId("left-out").textContent = said.join(" ");
  byId("left-out").hidden = !said.length;
}

export function startTable(world, hover) {
  const table = new Table(world, hover), updates = [rangeInputs(byId("table-ranges"), "table-"), subsetChips(world, byId("legend"))];
  const update = () => { drawHeads(); table.draw(); for (const one of updates) one(); };
  onModel(({ counted }) => { if (counted) table.box.scrollTop = 0; update(); });
  onChange((changed) => {
    if (changed.has("open") && state.open !== null) table.follow();
    if (touches(changed, "open", "view")) table.draw();
  });
  if (state.open !== null) table.follow();
  drawLeftOut(world);
  update();
}
