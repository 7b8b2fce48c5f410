// The run: its facts, what it did and took by its own records, its configuration.
import { byId, element, integer, isKnown, sum, table } from "./dom.js";

const STEPS = ["", "K", "M", "G", "T", "P", "E", "Z"];

// `1.23 T`
function scaled(value) {
  let step = 0;
  while (Math.abs(value) >= 999.5 && step < STEPS.length - 1) { value /= 1000; step += 1; }
  return `${Number(value.toPrecision(3))} ${STEPS[step]}`.trim();
}

function lasting(seconds) {
  if (!isKnown(seconds)) return "not recorded";
  for (const [least, unit, name] of [[7200, 3600, "h"], [120, 60, "min"]]) if (seconds >= least) return `${(seconds / unit).toFixed(1)} ${name}`;
  return `${Number(seconds.toPrecision(2))} s`;
}

const fact = ([name, value]) => element("div", "", element("dt", "", name), element("dd", "", String(value)));

function drawBill({ stages, missing }) {
  const recorded = stages.map(([, , , , , seconds]) => seconds).filter(isKnown), done = scaled(sum(stages.map(([, , , , flops]) => flops)));
  const time = recorded.length ? `${lasting(sum(recorded))} of devices' time, recorded by ${recorded.length} of ${stages.length} stages` : "Devices' time is not recorded";
  const line = stages.length ? [`${time}; ${done.replace(/(\d)$/, "$1 ")}flop in all.`] : [];
  byId("bill-line").textContent = [...line, ...missing].join(" ");
  byId("bill-line").hidden = !line.length && !missing.length;
  byId("bill").hidden = !stages.length;
  if (stages.length) byId("stages").append(table(["part", "stage", "units", "planned flop", "done flop", "done / planned", "devices' time"],
    stages.map(([part, stage, units, planned, spent, seconds]) => [part, stage, integer(units), scaled(planned), scaled(spent), planned ? (spent / planned).toFixed(2) : "–", lasting(seconds)])));
}

export function drawRun({ map, report }) {
  const ledger = report.ledger ?? { facts: [], stages: [], missing: [] };
  const drawn = map.tokens.count < map.tokens.total ? `${integer(map.tokens.count)} of ${integer(map.tokens.total)} tokens are drawn, chosen at random.` : `All ${integer(map.tokens.total)} tokens are drawn.`;
  const later = map.assigned ? ` ${integer(map.assigned.tokens)} of ${integer(map.assigned.of)} tokens that were added after the clusters were found were assigned to them (drawn fainter; search for assigned:).` : "";
  byId("facts").append(...map.facts.map(fact));
  byId("tokens-drawn").textContent = drawn + later;
  drawBill(ledger);
  byId("records").hidden = !ledger.facts.length;
  byId("ledger").append(...ledger.facts.map(fact));
  byId("config").textContent = map.provenance;
  byId("layout").textContent = JSON.stringify(map.layout ?? {}, null, 2);
}
