// Tokens arrive in the display alphabet of spectro/tokens/display/vocabulary.py: printable characters stand
// for themselves, U+E002 to U+E004 for space, line end and tab, U+E000 … U+E001 around escapes.
import { element } from "./dom.js";

export const GLYPHS = { "\ue002": "·", "\ue003": "⏎", "\ue004": "⇥" };
const PLAIN = { "\ue002": " ", "\ue003": "\n", "\ue004": "\t" };
export const MARKS = /([\ue002\ue003\ue004]+|\ue000[^\ue001]*\ue001)/;

let vocabulary = [];

export function setVocabulary(pieces) {
  vocabulary = pieces;
}

export const vocabularySize = () => vocabulary.length;
export const piece = (id) => vocabulary[id] ?? `\ue000#${id}\ue001`;

// A display string as nodes: printable text, whitespace marks, escaped bytes.
export function shown(text) {
  return text.split(MARKS).filter(Boolean).map((part) => {
    if (/^[\ue002-\ue004]/.test(part)) return element("span", "ws", [...part].map((mark) => GLYPHS[mark]).join(""));
    if (part[0] === "\ue000") return element("span", "esc", part.slice(1, -1));
    return part;
  });
}

// Scripts that run right to left must not reorder their neighbours.
export function tokens(ids) {
  return [...ids].flatMap((id) =>
    /[^\x00-\x7f\ue000-\ue004]/.test(piece(id)) ? [element("span", "tok", ...shown(piece(id)))] : shown(piece(id)));
}

export const token = (id, className = "token") => element("span", `tok ${className}`, ...shown(piece(id)));

// As one string: with glyphs for white space, to be read …
export const glyphs = (text) => text.replace(/[\ue000\ue001]/g, "").replace(/[\ue002-\ue004]/g, (mark) => GLYPHS[mark]);
export const label = (id) => glyphs(piece(id));

// … and with the white space itself, to be searched.
export const plain = (id) => piece(id).replace(/[\ue000\ue001]/g, "").replace(/[\ue002-\ue004]/g, (mark) => PLAIN[mark]);

// What someone typed, with its white space visible.
export const visible = (typed) => shown(typed.replace(/[\ue000-\ue004]/g, "")
  .replace(/ /g, "\ue002").replace(/\n/g, "\ue003").replace(/\t/g, "\ue004"));

export const shorten = (text, most) => ([...text].length > most ? `${[...text].slice(0, most - 1).join("")}…` : text);
