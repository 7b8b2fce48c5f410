// What the pointer is over: picked on the GPU when the pointer rests, shown beside it.
import { element, fixed, hideTooltip, integer, percent, sum, tooltipAt } from "./dom.js";
import { readContext, readToken, row, top } from "./data.js";
import { homeOf } from "./filters.js";
import { swatch } from "./marks.js";
import { nameNodes, nameOf } from "./names.js";
import { change } from "./state.js";
import { token, tokens } from "./text.js";

const PAUSE_MS = 40, BEFORE = 12, AFTER = 5;

function clusterTip(world, id) {
  const { clusters, map } = world, subset = clusters.subset.values[id], counts = row(clusters.subset_counts, id);
  return [
    element("div", "tip-head", element("strong", "", `#${id}`), ` ${integer(clusters.size.values[id])} tokens`),
    ...(nameOf(world, id) ? [element("div", "", ...nameNodes(world, id))] : []),
    element("div", "", ...top(world, id, 5).map(([y]) => token(y))),
    element("div", "tip-foot", swatch(subset), `${map.subsets[subset]} ${percent(counts[subset] / Math.max(1, sum(counts)))}`),
  ];
}

function tokenTip(world, index, details) {
  const { token: y, subset, cluster } = world.tokens, own = cluster[index];
  const context = details && element("div", "tip-context", element("span", "",
    ...tokens(details.ids.subarray(Math.max(0, details.position + 1 - BEFORE), details.position + 1))),
    token(y[index], "lit"), element("span", "after", ...tokens(details.ids.subarray(details.position + 2, details.position + 2 + AFTER))));
  return [
    context ?? element("div", "tip-context", token(y[index], "lit")),
    element("div", "tip-foot", swatch(subset[index]), `${world.map.subsets[subset[index]]} · `,
      own >= 0 ? `cluster #${own}` : own < -1 ? `assigned to #${homeOf(own)} later` : "in no cluster", details ? ` · loss ${fixed(details.loss, 2)}` : ""),
  ];
}

async function details(world, index) {
  const { tokenId, loss } = await readToken(world, index);
  const context = await readContext(world, tokenId);
  return context && { loss, ...context };
}

export class Hover {
  constructor(world, view) {
    Object.assign(this, { world, view, timer: 0, over: { cluster: -1, token: -1 } });
    view.node.addEventListener("pointermove", (event) => {
      clearTimeout(this.timer);
      if (event.buttons || event.pointerType === "touch") return this.leave();
      this.timer = setTimeout(() => this.look(event), PAUSE_MS);
    });
    view.node.addEventListener("pointerleave", () => { clearTimeout(this.timer); this.leave(); });
  }

  leave() {
    this.over = { cluster: -1, token: -1 };
    hideTooltip();
    this.view.hover(null);
  }

  look({ clientX, clientY }) {
    const box = this.view.node.getBoundingClientRect();
    const over = this.over = this.view.pick(clientX - box.x, clientY - box.y);
    if (over.cluster < 0 && over.token < 0) return this.leave();
    const own = over.token < 0 ? -1 : homeOf(this.world.tokens.cluster[over.token]);
    this.view.hover(over.cluster >= 0 ? over.cluster : own >= 0 ? own : null);
    const show = (more) => tooltipAt(clientX, clientY, ...(over.cluster >= 0 ? clusterTip(this.world, over.cluster) : []),
      ...(over.token >= 0 ? tokenTip(this.world, over.token, more) : []));
    show(null);
    if (over.token >= 0) details(this.world, over.token).then((more) => { if (more && this.over === over) show(more); }, () => {});
  }

  // A disc before a token's cluster: it is on top.
  click({ x, y }) {
    const { cluster, token: index } = this.view.pick(x, y), own = index < 0 ? -1 : homeOf(this.world.tokens.cluster[index]);
    const open = cluster >= 0 ? cluster : own;
    if (open >= 0) change({ open, panel: "card" });
  }
}
