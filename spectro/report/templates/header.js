function drawHeader() {
  const numComponents = DATA.columns.components.length;
  byId("lede").textContent =
    `Each of ${integer(DATA.numTokens)} tokens in context is described by its susceptibilities χ: how the loss on it moves with ` +
    `the model's overall loss when one component at a time (attention heads, MLPs, embeddings: ${numComponents} of them) ` +
    "is sampled from its local posterior. The clusters were found from these responses alone, without looking at the text.";
  const numbers = [[DATA.clusters.length, "clusters", "real posterior"]];
  if (DATA.control) numbers.push([DATA.control.sizes.length, "clusters", "control, nβ = 0"]);
  byId("versus").append(...numbers.map(([count, noun, where], index) =>
    element("div", index ? "count faint" : "count",
      element("strong", "", integer(count)),
      element("span", "", count === 1 ? noun.slice(0, -1) : noun),
      element("small", "", where))));
  if (!DATA.control) byId("versus").append(element("p", "note", "The nβ = 0 control was not run."));
  byId("facts").append(...DATA.facts.map(([name, value]) =>
    element("div", "", element("dt", "", name), element("dd", "", value))));
  byId("config").textContent = DATA.provenance;
}

function drawLegend() {
  const present = DATA.subsets.map((name, subset) => [name, subset]);
  byId("legend").append(...present.map(([name, subset]) => {
    const toggle = button("chip", "", () => {
      const hidden = new Set(state.hidden);
      if (!hidden.delete(subset)) hidden.add(subset);
      toggle.setAttribute("aria-pressed", String(!hidden.has(subset)));
      change({ hidden });
    });
    toggle.setAttribute("aria-pressed", "true");
    toggle.append(swatch(subset), name);
    return toggle;
  }));
}
