// The state as the part of the address after #, and back: a link opens what was seen.
const whole = (text) => (/^\d{1,9}$/.test(text ?? "") ? Number(text) : null);
const bound = (text, otherwise) => (text === "" || !Number.isFinite(Number(text)) ? otherwise : Number(text));
const written = (value) => (Number.isFinite(value) ? String(Number(value.toPrecision(6))) : "");

function encode() {
  const parts = new URLSearchParams();
  if (state.open !== null) parts.set("cluster", state.open);
  if (state.query) parts.set("search", state.query);
  if (state.sort !== START.sort || state.descending !== START.descending) parts.set("sort", `${state.sort}.${state.descending ? "falling" : "rising"}`);
  if (state.hidden.size) parts.set("hide", [...state.hidden].sort((a, b) => a - b).join(","));
  for (const name of RANGES) if (state[name] !== ANY) parts.set(name, state[name].map(written).join(".."));
  return parts.toString();
}

// What an address says; what it does not say, or says wrongly, is as at the start.
function decode(text) {
  const parts = new URLSearchParams(text.replace(/^#/, "")), found = { ...START };
  const open = whole(/^#c(\d+)$/.exec(text)?.[1] ?? parts.get("cluster"));
  if (open !== null && open < NUM_ROWS) found.open = open;
  found.query = parts.get("search") ?? "";
  const [sort, direction] = (parts.get("sort") ?? "").split(".");
  if (Object.hasOwn(COLUMN, sort)) Object.assign(found, { sort, descending: direction ? direction === "falling" : !COLUMN[sort].rises });
  const hidden = (parts.get("hide") ?? "").split(",").map(whole).filter((subset) => subset !== null && subset < DATA.subsets.length);
  if (hidden.length) found.hidden = new Set(hidden);
  for (const name of RANGES) {
    const [low, high, more] = (parts.get(name) ?? "").split("..");
    if (high !== undefined && more === undefined) found[name] = range(bound(low, -Infinity), bound(high, Infinity));
  }
  return found;
}

// Links to parts of the page keep the state; links to clusters, and edited addresses, are followed.
function startAddress() {
  let known = location.hash;
  Object.assign(state, decode(known));
  onChange((changed) => {
    known = `#${encode()}`;
    if (known !== (location.hash || "#")) history[changed.has("open") ? "pushState" : "replaceState"](null, "", known);
    known = location.hash;
  });
  const follow = () => {
    if (location.hash === known || byId(location.hash.slice(1))) return;
    known = location.hash;
    change(decode(known));
    if (state.open !== null) showCard();
  };
  addEventListener("hashchange", follow);
  addEventListener("popstate", follow);
}
