// The clusters as a table of which only the rows in sight are drawn. The table has the focus, a
// cursor within it says which row the keys mean.
const ROW_HEIGHT = 33, ROWS_BESIDE = 8; // pixels, as in report.css; rows drawn above and below
let cursor = null, drawn = [0, 0], isRowsDrawn = false;

function head(column) {
  const node = element("th", column.isText ? "text" : ""), arrow = element("span", "arrow", "");
  node.scope = "col";
  node.dataset.key = column.key;
  const sort = button("", "", () => {
    const isSame = state.sort === column.key;
    change({ sort: column.key, descending: isSame ? !state.descending : !column.rises });
  });
  sort.append(column.name, arrow);
  sort.title = column.title;
  node.append(sort);
  return node;
}

function drawHeads() {
  for (const node of byId("heads").children) {
    const isSorted = node.dataset.key === state.sort;
    node.setAttribute("aria-sort", isSorted ? (state.descending ? "descending" : "ascending") : "none");
    node.querySelector(".arrow").textContent = isSorted ? (state.descending ? " ↓" : " ↑") : "";
  }
}

function row(id, position) {
  const node = element("tr", "", ...COLUMNS.map((column) => {
    const cell = element("td", column.isText ? "text" : ""), said = column.show(id);
    cell.append(...(Array.isArray(said) ? said : [said]));
    return cell;
  }));
  node.id = `row-${id}`;
  node.dataset.id = id;
  node.setAttribute("aria-rowindex", position + 2); // the heads are the first
  node.setAttribute("aria-selected", String(id === state.open));
  node.classList.toggle("cursor", id === cursor);
  node.classList.toggle("loose", isLoose(id));
  if (isLoose(id)) node.title = `Cluster ${id} ${LOOSE_MEANS}`;
  return node;
}

function spacer(numRows) {
  const cell = element("td", ""), node = element("tr", "spacer", cell);
  cell.colSpan = COLUMNS.length;
  cell.style.height = `${numRows * ROW_HEIGHT}px`;
  node.setAttribute("aria-hidden", "true");
  return node;
}

function rowsInSight() {
  const box = byId("rows"), first = Math.floor(box.scrollTop / ROW_HEIGHT) - ROWS_BESIDE;
  const last = Math.ceil((box.scrollTop + box.clientHeight) / ROW_HEIGHT) + ROWS_BESIDE;
  return [Math.max(0, Math.min(first, model.listed.length)), Math.min(model.listed.length, last)];
}

function drawRows() {
  const [first, last] = drawn = rowsInSight();
  const above = first ? [spacer(first)] : [], below = last < model.listed.length ? [spacer(model.listed.length - last)] : [];
  byId("body").replaceChildren(...above, ...model.listed.slice(first, last).map((id, i) => row(id, first + i)), ...below);
  byId("table").setAttribute("aria-rowcount", model.listed.length + 1);
  if (cursor !== null && byId(`row-${cursor}`)) byId("table").setAttribute("aria-activedescendant", `row-${cursor}`);
  else byId("table").removeAttribute("aria-activedescendant");
  byId("none").hidden = model.listed.length > 0;
  byId("none").textContent = NUM_CLUSTERS ? "No cluster passes the search and the filters." : "No cluster was found in this run.";
}

function drawRowsSoon() {
  if (isRowsDrawn) return;
  isRowsDrawn = true;
  requestAnimationFrame(() => {
    isRowsDrawn = false;
    const [first, last] = rowsInSight();
    if (first !== drawn[0] || last !== drawn[1]) drawRows();
  });
}

// Brings a row into sight, below the heads.
function reveal(position) {
  const box = byId("rows"), room = box.clientHeight - byId("heads").offsetHeight, top = position * ROW_HEIGHT;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + ROW_HEIGHT > box.scrollTop + room) box.scrollTop = top + ROW_HEIGHT - room;
}

function moveTo(position) {
  const target = Math.max(0, Math.min(model.listed.length - 1, position));
  if (target >= model.listed.length) return;
  cursor = model.listed[target];
  reveal(target);
  hover(cursor);
  drawRows();
}

function stepsOf(key) {
  const page = Math.max(1, Math.floor(byId("rows").clientHeight / ROW_HEIGHT) - 2);
  return { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[key];
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target !== byId("table")) return;
  const at = cursor === null ? -1 : model.listed.indexOf(cursor), steps = stepsOf(event.key);
  if (steps !== undefined) moveTo(at < 0 && steps < 0 ? 0 : at + steps);
  else if ((event.key === "Enter" || event.key === " ") && at >= 0) change({ open: cursor });
  else return;
  event.preventDefault();
}

function startTable() {
  byId("heads").append(...COLUMNS.map(head));
  byId("rows").addEventListener("scroll", drawRowsSoon, { passive: true });
  new ResizeObserver(drawRowsSoon).observe(byId("rows"));
  byId("table").addEventListener("keydown", onKey);
  byId("body").addEventListener("click", (event) => {
    const node = event.target.closest("tr[data-id]");
    if (!node || String(getSelection())) return;
    byId("table").focus({ preventScroll: true });
    cursor = Number(node.dataset.id);
    if (state.open === cursor) drawRows();
    else change({ open: cursor });
  });
  byId("body").addEventListener("pointerover", (event) => {
    const node = event.target.closest("tr[data-id]");
    hover(node ? Number(node.dataset.id) : null);
  });
  byId("body").addEventListener("pointerleave", () => hover(null));
  byId("table").addEventListener("blur", () => hover(null));
  onChange((changed) => {
    if (touches(changed, "sort", "descending")) drawHeads();
    if (touches(changed, ...FILTERS, "sort", "descending")) byId("rows").scrollTop = 0;
    if (changed.has("open") && state.open !== null) {
      cursor = state.open;
      const position = model.listed.indexOf(cursor);
      if (position >= 0) reveal(position);
    }
    drawRows();
  });
  if (state.open !== null) {
    cursor = state.open;
    reveal(Math.max(0, model.listed.indexOf(cursor)));
  }
  drawHeads();
  drawRows();
}
