// What the run did and took, from its own records.
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

function drawLedger() {
  const { facts, stages, missing } = DATA.ledger;
  const recorded = stages.map(([, , , , , seconds]) => seconds).filter(isKnown), done = scaled(sum(stages.map(([, , , , flops]) => flops)));
  const time = recorded.length ? `${lasting(sum(recorded))} of devices' time, told by ${recorded.length} of ${stages.length} stages` : "Devices' time is not recorded";
  const line = stages.length ? [`${time}; ${done.replace(/(\d)$/, "$1 ")}flop in all.`] : [];
  byId("bill-line").textContent = [...line, ...missing].join(" ");
  byId("bill-line").hidden = !line.length && !missing.length;
  byId("bill").hidden = !stages.length;
  if (stages.length) byId("stages").append(table(["part", "stage", "units", "planned flop", "done flop", "done / planned", "devices' time"],
    stages.map(([part, stage, units, planned, spent, seconds]) => [part, stage, integer(units), scaled(planned), scaled(spent), planned ? (spent / planned).toFixed(2) : "–", lasting(seconds)])));
  byId("records").hidden = !facts.length;
  byId("ledger").append(...facts.map(fact));
  byId("config").textContent = DATA.provenance;
}
