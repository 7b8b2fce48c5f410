function drawHeader() {
  byId("lede").textContent =
    `Each of ${integer(DATA.numTokens)} tokens in context is described by its susceptibilities χ: how the loss on it moves with ` +
    `the model's overall loss when one component at a time (attention heads, MLPs, embeddings: ${DATA.columns.components.length} of them) ` +
    "is sampled from its local posterior. The clusters were found from these responses alone, without looking at the text.";
  const numbers = [[NUM_CLUSTERS, "real posterior"]];
  if (DATA.control) numbers.push([DATA.control.summary.clusters, "control, nβ = 0"]);
  byId("versus").append(...numbers.map(([count, where], index) =>
    element("div", index ? "count faint" : "count",
      element("strong", "", integer(count)), element("span", "", count === 1 ? "cluster" : "clusters"), element("small", "", where))));
  if (!DATA.control) byId("versus").append(element("p", "note", "No control was run (nβ = 0)."));
  byId("facts").append(...DATA.facts.map(fact));
  byId("warnings").append(...DATA.columns.warnings.map((warning) => element("li", "", warning)));
  byId("warnings").hidden = !DATA.columns.warnings.length;
}

const fact = ([name, value]) => element("div", "", element("dt", "", name), element("dd", "", value));

// The control beside the run, in two lines.
function drawStrip() {
  const sides = [["run", DATA.summary], ...(DATA.control ? [["control, nβ = 0", DATA.control.summary]] : [])];
  const clustered = ({ clustered: count }) => `${integer(count)} (${percent(count / Math.max(1, DATA.numTokens))})`;
  const table_ = table(["", "clusters", "tokens in clusters", "largest", "median size", "median conductance", "hold", "median stability", "median ceiling", "median one subset", "median one y"],
    sides.map(([name, told]) => [name, integer(told.clusters), clustered(told), integer(told.largest), fixed(told.size, 0), fixed(told.conductance, 3),
      integer(told.hold), fixed(told.stability, 2), fixed(told.repeatability, 2), percent(told.purity), percent(told.tokenPurity)]));
  byId("strip").append(table_);
  if (ROWS.holds.some((holds) => holds === 0)) byId("strip").append(element("p", "said", `${LOOSE} and grey: a cluster that ${LOOSE_MEANS}.`));
  if (!DATA.control) byId("strip").append(element("p", "said", "No control was run (nβ = 0): these clusters cannot be told from what noise alone would give."));
}
