// The way between the map of the run and that of its nβ = 0 control; or a word on why there is none.
import { encode } from "./address.js";
import { CONTROL, showsControl } from "./data.js";
import { byId, element } from "./dom.js";
import { onChange, START, state } from "./state.js";

const HELP = "The same tokens measured with nβ = 0, noise that never looked at the loss: what its map shows as well is not the posterior's";

// Search and colour go along; ids, regions and places are others there.
function carried() {
  const query = /^\s*(#|region:|assigned:|feature:)/i.test(state.query) ? "" : state.query;
  const address = encode({ ...START, query, colour: state.colour, view: state.view });
  return address ? `#${address}` : "";
}

function link(name, query, isHere) {
  const node = element("a", "", name), aim = () => { node.href = location.pathname + query + carried(); };
  if (isHere) node.setAttribute("aria-current", "page");
  node.title = HELP;
  onChange(aim);
  aim();
  return node;
}

function missing({ control, control_measured: isMeasured, is_control: isControl }) {
  if (isControl) return ["this is a control, nβ = 0", HELP];
  if (control) return ["nβ = 0 not drawn", "The control has clusters, but this map was made without theirs (map.control), or before they were there"];
  if (isMeasured) return ["nβ = 0 not clustered", "The control was measured, but has no clusters of this name"];
  return ["no nβ = 0 control", "No control was run: what noise alone would give cannot be separated from these clusters"];
}

export function startMaps({ map }) {
  const place = byId("maps");
  if (showsControl || map.control?.map) {
    place.replaceChildren(link("run", "", !showsControl), link("nβ = 0 control", `?map=${CONTROL}`, showsControl));
    return;
  }
  const [text, title] = missing(map), node = element("span", "", text);
  node.title = title;
  place.replaceChildren(node);
}
