// The clusters as a list: what the map shows, for reading and for the keyboard.
function listItem(cluster) {
  const row = button("row", "", () => { centreOn(cluster); openCluster(cluster); });
  row.setAttribute("aria-label", `Cluster ${cluster.id}, ${cluster.size} tokens, ${DATA.subsets[cluster.dominant]}`);
  row.append(swatch(cluster.dominant), element("span", "row-tokens", ...cluster.top.slice(0, 4).map(([id]) => token(id))),
    element("span", "row-size", integer(cluster.size)));
  for (const [enter, leave] of [["pointerenter", "pointerleave"], ["focus", "blur"]]) {
    row.addEventListener(enter, () => change({ hover: cluster }));
    row.addEventListener(leave, () => change({ hover: null }));
  }
  return element("li", "", row);
}

function drawList() {
  const shown = shownClusters();
  byId("list").replaceChildren(...shown.map(listItem));
  if (!DATA.clusters.length) byId("list").append(element("li", "empty", "No cluster was found."));
  else if (!shown.length) byId("list").append(element("li", "empty", "No cluster matches."));
  const filtered = shown.length < DATA.clusters.length;
  byId("matches").textContent = filtered ? `${integer(shown.length)} of ${integer(DATA.clusters.length)}` : "";
  byId("filter-note").textContent = filtered ? `${integer(shown.length)} of ${integer(DATA.clusters.length)} clusters pass the search and the subsets chosen above` : "";
}

function startList() {
  drawList();
  onChange((update) => { if ("query" in update || "hidden" in update || "sort" in update) drawList(); });
}
