// Links within the page go there and leave the address, which holds the state, as it is.
function startLinks() {
  for (const link of document.querySelectorAll(".bar a, .skip")) {
    link.addEventListener("click", (event) => {
      const target = byId(link.hash.slice(1));
      event.preventDefault();
      target.scrollIntoView();
      if (!link.classList.contains("skip")) return;
      target.tabIndex = -1;
      target.focus({ preventScroll: true });
    });
  }
}

function startKeys() {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.key === "Escape") {
      hideTooltip();
      if (isTyping) document.activeElement.blur();
      else if (state.open !== null) closeCard();
    } else if (event.key === "/" && !isTyping) {
      event.preventDefault();
      byId("search").focus();
    }
  });
}

startAddress();
startModel();
drawHeader();
drawStrip();
drawFound();
startFilters();
startMap();
startTheme(readInk);
startTable();
startCards();
drawColumns();
drawControl();
drawLedger();
startLinks();
startKeys();
if (state.open !== null) showCard();
document.documentElement.dataset.ready = "true";
