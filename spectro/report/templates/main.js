const DATA = JSON.parse(byId("data").textContent);
const BY_ID = new Map();

function prepare(clusters) {
  clusters.forEach((cluster, index) => {
    cluster.index = index;
    cluster.dominant = dominant(cluster);
    const name = cluster.top.length ? label(cluster.top[0][0]) : `#${cluster.id}`;
    cluster.name = name.length > 14 ? `${name.slice(0, 13)}…` : name;
  });
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  readInk();
}

function startTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const asked = new URLSearchParams(location.search).get("theme");
  setTheme(asked === "dark" || asked === "light" ? asked : dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
  byId("theme").addEventListener("click", () =>
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
}

function followAddress() {
  const match = /^#c(\d+)$/.exec(location.hash);
  const cluster = match && BY_ID.get(Number(match[1]));
  if (cluster) openCluster(cluster);
}

prepare(DATA.clusters);
if (DATA.control) prepare(DATA.control.clusters);
for (const cluster of DATA.clusters) BY_ID.set(cluster.id, cluster);
drawHeader();
drawLegend();
startMap();
startTheme();
startList();
startCards();
drawColumns();
drawControl();
followAddress();
addEventListener("hashchange", followAddress);
byId("search").addEventListener("input", (event) => change({ query: event.target.value }));
addEventListener("keydown", (event) => {
  if (event.key !== "/" || /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) return;
  event.preventDefault();
  byId("search").focus();
});
document.documentElement.dataset.ready = "true";
