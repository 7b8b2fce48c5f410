// The state as the part of the address after #, and back: a link opens what was seen.
import { FIELD } from "./fields.js";
import { ANY, START } from "./state.js";

const COLOURS = ["subset", "cluster", "conductance", "stability", "region"];
export const VIEWS = ["map", "found", "clusters", "columns", "control", "run"];
const RANGES = ["size", "conductance", "stability"];
const whole = (text) => (/^\d{1,9}$/.test(text ?? "") ? Number(text) : null);
const wholes = (text) => (text ?? "").split(",").map(whole).filter((value) => value !== null);
const bound = (text, otherwise) => (text === "" || !Number.isFinite(Number(text)) ? otherwise : Number(text));
const short = (value) => (Number.isFinite(value) ? String(Number(value.toPrecision(6))) : "");

export function encode(state) {
  const parts = new URLSearchParams();
  if (state.open !== null) parts.set("cluster", state.open);
  if (state.view !== START.view) parts.set("show", state.view);
  if (state.query) parts.set("search", state.query);
  if (state.colour !== START.colour) parts.set("colour", state.colour);
  if (state.sort !== START.sort || state.descending !== null) parts.set("sort", state.descending === null ? state.sort : `${state.sort}.${state.descending ? "falling" : "rising"}`);
  if (state.hidden.size) parts.set("hide", [...state.hidden].sort((a, b) => a - b).join(","));
  for (const name of ["loose", "assigned"]) if (!state[name]) parts.set(name, "0");
  for (const name of RANGES) if (state[name] !== ANY) parts.set(name, state[name].map(short).join(".."));
  if (state.region !== null) parts.set("region", state.region);
  if (state.selection?.clusters) parts.set("select", state.selection.clusters.join(","));
  if (state.selection?.shape) parts.set("shape", state.selection.shape.flat().join(","));
  if (state.place) parts.set("at", [state.place.x.toFixed(0), state.place.y.toFixed(0), state.place.zoom.toFixed(2)].join(","));
  return parts.toString();
}

// What an address says; everything that it does not say, or says wrongly, is as at the start.
export function decode(text, { numClusters, numSubsets, regionIds }) {
  const parts = new URLSearchParams(text.replace(/^#/, "")), found = { ...START };
  const cluster = whole(/^#c(\d+)$/.exec(text)?.[1] ?? parts.get("cluster"));
  if (cluster !== null && cluster < numClusters) found.open = cluster;
  found.query = parts.get("search") ?? "";
  if (COLOURS.includes(parts.get("colour"))) found.colour = parts.get("colour");
  const [sort, direction] = (parts.get("sort") ?? "").split(".");
  if (Object.hasOwn(FIELD, sort)) Object.assign(found, { sort, descending: direction ? direction === "falling" : null });
  found.hidden = new Set(wholes(parts.get("hide")).filter((subset) => subset < numSubsets));
  for (const name of ["loose", "assigned"]) found[name] = parts.get(name) !== "0";
  for (const name of RANGES) {
    const [low, high, more] = (parts.get(name) ?? "").split("..");
    if (high !== undefined && more === undefined) found[name] = range(bound(low, -Infinity), bound(high, Infinity));
  }
  const region = whole(parts.get("region"));
  if (region !== null && regionIds.has(region)) found.region = region;
  found.selection = selection(parts, numClusters);
  found.place = place(parts.get("at"));
  if (VIEWS.includes(parts.get("show"))) found.view = parts.get("show");
  found.panel = found.open !== null ? "card" : found.selection ? "selection" : "list";
  return found;
}

export const range = (low, high) => (low === -Infinity && high === Infinity ? ANY : [low, high]);

function selection(parts, numClusters) {
  const clusters = wholes(parts.get("select")).filter((id) => id < numClusters);
  if (clusters.length) return { clusters };
  const numbers = wholes(parts.get("shape"));
  if (numbers.length < 6 || numbers.length % 2) return null;
  return { shape: Array.from({ length: numbers.length / 2 }, (_, i) => [numbers[2 * i], numbers[2 * i + 1]]) };
}

function place(text) {
  const numbers = (text ?? "").split(",").map(Number);
  return numbers.length === 3 && text && numbers.every(Number.isFinite) ? { x: numbers[0], y: numbers[1], zoom: numbers[2] } : null;
}
