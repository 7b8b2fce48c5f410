// What narrows the table: the search, ranges, subsets; how many are left.
function rangeInputs(name) {
  const inputs = ["least", "most"].map((end) => {
    const input = element("input", "");
    Object.assign(input, { type: "number", min: 0, step: name === "size" ? "1" : "any", placeholder: end, id: `${name}-${end}` });
    input.setAttribute("aria-label", `${COLUMN[name].name}, ${end}`);
    return input;
  });
  const number = (input, otherwise) => (input.value === "" ? otherwise : Number(input.value));
  for (const input of inputs) input.addEventListener("input", () => change({ [name]: range(number(inputs[0], -Infinity), number(inputs[1], Infinity)) }));
  byId("ranges").append(element("div", "range", element("span", "", COLUMN[name].name), inputs[0], "–", inputs[1]));
  return () => inputs.forEach((input, end) => {
    if (input !== document.activeElement) input.value = Number.isFinite(state[name][end]) ? state[name][end] : "";
  });
}

function subsetChip(name, subset) {
  const toggle = button("chip", "", () => {
    const hidden = new Set(state.hidden);
    if (!hidden.delete(subset)) hidden.add(subset);
    change({ hidden: hidden.size ? hidden : START.hidden });
  });
  toggle.append(swatch(subset), name);
  byId("legend").append(toggle);
  return () => toggle.setAttribute("aria-pressed", String(!state.hidden.has(subset)));
}

function searchBox() {
  const box = byId("search");
  let timer = 0;
  const ask = () => { clearTimeout(timer); change({ query: box.value }); };
  box.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 120); });
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    ask();
    if (model.listed.length === 1) openCard(model.listed[0]);
    else byId("table").focus({ preventScroll: true });
  });
  return () => { if (box.value !== state.query) box.value = state.query; };
}

function drawCount() {
  const several = NUM_CLUSTERS === 1 ? "cluster" : "clusters";
  byId("summary").textContent = `${integer(model.listed.length)} of ${integer(NUM_CLUSTERS)} ${several}`;
  byId("reset").replaceChildren(...(isFiltered() ? [button("link", "show all", () => change(NO_FILTER))] : []));
}

function drawLeftOut() {
  const said = [];
  if (NUM_ROWS < NUM_CLUSTERS) said.push(`The table has the ${integer(NUM_ROWS)} largest of ${integer(NUM_CLUSTERS)} clusters (report.max_rows).`);
  if (NUM_CARDS < NUM_CLUSTERS) said.push(`The ${integer(NUM_CARDS)} largest clusters have a ring and a card with χ and contexts (report.max_cards); spectro map has all.`);
  if (DATA.points.x.length < DATA.numTokens) said.push(`The map has ${integer(DATA.points.x.length)} of ${integer(DATA.numTokens)} tokens (report.max_points).`);
  byId("left-out").textContent = said.join(" ");
  byId("left-out").hidden = !said.length;
}

function startFilters() {
  const updates = [searchBox(), ...RANGES.map(rangeInputs), ...DATA.subsets.map(subsetChip)];
  const update = () => { for (const one of updates) one(); drawCount(); };
  onChange((changed) => { if (touches(changed, ...FILTERS)) update(); });
  update();
  drawLeftOut();
}
