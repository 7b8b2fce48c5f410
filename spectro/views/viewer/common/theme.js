// Light or dark: as the system says, until the switch says otherwise.
import { byId } from "./dom.js";

const KEY = "spectro-theme";

function stored(value) {
  try {
    if (value) localStorage.setItem(KEY, value);
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage is refused: the switch holds until the page is closed
  }
}

export function startTheme(onSwitch) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const set = (theme) => {
    document.documentElement.dataset.theme = theme;
    onSwitch();
  };
  const asked = new URLSearchParams(location.search).get("theme"), isTheme = (name) => name === "light" || name === "dark";
  const chosen = [asked, stored()].find(isTheme);
  set(chosen ?? (dark.matches ? "dark" : "light"));
  dark.addEventListener("change", () => { if (!isTheme(stored())) set(dark.matches ? "dark" : "light"); });
  byId("theme").addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    stored(next);
    set(next);
  });
}
