// What is typed in a search box, and which tokens it means.
import { label, plain } from "./text.js";

// null, or { kind, … }: #12 · name:words · subset:name · region:name · size:20-500 · assigned: · else text, white space and all.
export function parse(query) {
  if (!query) return null;
  const number = /^\s*#(\d{1,9})\s*$/.exec(query);
  if (number) return { kind: "cluster", id: Number(number[1]) };
  const named = /^\s*(name|subset|region):\s*(.+?)\s*$/i.exec(query);
  if (named) return { kind: named[1].toLowerCase(), name: named[2].toLowerCase() };
  const assigned = /^\s*assigned:\s*#?(\d{0,9})\s*$/i.exec(query);
  if (assigned) return { kind: "assigned", id: assigned[1] === "" ? null : Number(assigned[1]) };
  const size = /^\s*size:\s*(\d*)\s*(-?)\s*(\d*)\s*$/i.exec(query);
  if (size && (size[1] || size[3])) {
    const low = Number(size[1] || 0), high = size[3] ? Number(size[3]) : size[2] ? Infinity : low;
    return { kind: "size", low, high };
  }
  return { kind: "text", text: query };
}

// Whether a token has the text. Lower case finds both cases; white space may be typed as itself or
// as its mark.
export function spelled(text) {
  const asked = [text, text.replace(/·/g, " ").replace(/⏎/g, "\n").replace(/⇥/g, "\t")];
  const exact = text !== text.toLowerCase();
  const fold = (string) => (exact ? string : string.toLowerCase());
  return (id) => {
    const said = fold(plain(id));
    return said.includes(asked[1]) || said.includes(asked[0]) || (asked[0] !== asked[1] && fold(label(id)).includes(asked[0]));
  };
}
