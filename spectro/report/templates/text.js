// Tokens arrive in the display alphabet of spectro/report/vocabulary.py.
const GLYPHS = { "\ue002": "·", "\ue003": "⏎", "\ue004": "⇥" };
const PLAIN = { "\ue002": " ", "\ue003": "\n", "\ue004": "\t" };
const MARKS = /([\ue002\ue003\ue004]+|\ue000[^\ue001]*\ue001)/;

const piece = (id) => DATA.pieces[id] ?? `\ue000${id}\ue001`;

// One token as nodes: printable text, whitespace marks, escaped bytes.
function tokenNodes(id) {
  return piece(id).split(MARKS).filter(Boolean).map((part) => {
    if (part in GLYPHS || /^[\ue002-\ue004]/.test(part)) {
      return element("span", "ws", [...part].map((mark) => GLYPHS[mark]).join(""));
    }
    if (part[0] === "\ue000") return element("span", "esc", part.slice(1, -1));
    return part;
  });
}

// Scripts that run right to left must not reorder their neighbours.
function tokens(ids) {
  return ids.flatMap((id) =>
    /[^\x00-\x7f\ue000-\ue004]/.test(piece(id)) ? [element("span", "tok", ...tokenNodes(id))] : tokenNodes(id));
}

const token = (id, className = "token") => element("span", `tok ${className}`, ...tokenNodes(id));

// For a canvas: glyphs without markup.
const label = (id) => piece(id).replace(/[\ue000\ue001]/g, "").replace(/[\ue002-\ue004]/g, (mark) => GLYPHS[mark]);

// For search: what the token says.
const plain = (id) => piece(id).replace(/[\ue000\ue001]/g, "").replace(/[\ue002-\ue004]/g, (mark) => PLAIN[mark]);
