import { drawChoices, drawFacts, drawHelp, drawKey, drawPickers } from "./controls.js";
import { byId } from "./dom.js";
import { DATA, followAddress, onChange, startState, state } from "./state.js";
import { setVocabulary } from "./text.js";
import { startTips } from "./tip.js";
import { drawText, paint, startKeys } from "./tokens.js";

function startTheme() {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
  const asked = new URLSearchParams(location.search).get("theme") ?? DATA.theme;
  const known = asked === "dark" || asked === "light";
  root.dataset.theme = known ? asked : dark.matches ? "dark" : "light";
  if (!known) dark.addEventListener("change", () => { root.dataset.theme = dark.matches ? "dark" : "light"; });
  byId("theme").addEventListener("click", () => { root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark"; });
}

function redraw() {
  paint();
  drawKey();
  drawHelp();
}

setVocabulary(DATA.pieces);
startTheme();
startState();
drawFacts();
drawPickers();
drawChoices();
drawText();
redraw();
onChange(redraw);
startKeys();
startTips();
addEventListener("hashchange", () => {
  followAddress();
  drawPickers();
  byId("scale").value = state.scale;
  byId("colours").value = state.colours;
  redraw();
});
document.documentElement.dataset.ready = "true";
