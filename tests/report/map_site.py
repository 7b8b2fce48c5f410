"""A folder served on this machine alone, and a browser that draws it."""

import json
import os
from pathlib import Path

import browser

ARTEFACTS = "SPECTRO_SCREENSHOTS"
"""Environment variable: a folder that keeps the screenshots."""
NUM_TOKENS, NUM_CLUSTERS = 6000, 24


def edit(folder, old, new):
    """In map.json."""
    text = (folder / "map.json").read_text()
    assert old in text
    (folder / "map.json").write_text(text.replace(old, new))


class MapPage(browser.Browser):
    """The page of a map, and what tests ask of it."""

    address = None

    def visit(self, address, query=""):
        """Open afresh and wait for every token."""
        self("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank'")
        self.events.clear()
        self.address = address
        self.open(address, query)
        self.wait("document.documentElement.dataset.loaded === 'true'")
        self.settle()

    def reset(self):
        """As it opened, without reading all again."""
        self.events.clear()
        self.js("document.querySelector('#help').close(); document.activeElement.blur()")
        self.js("spectroMap.change({...spectroMap.start}); spectroMap.view.showAll()")
        self.pointer("mouseMoved", 700, 5)
        self.settle()

    def settle(self):
        """Until counts and drawing have followed the last change."""
        self.wait("spectroMap.isSettled()")

    def change(self, **update):
        """As a control of the page would."""
        self.js(f"spectroMap.change({json.dumps(update)})")
        self.settle()

    def type_search(self, text):
        self.set("#search", text, "input")
        self.wait(f"spectroMap.state.query === {json.dumps(text)}")
        self.settle()

    def summary(self):
        return self.text("#summary")

    def shot(self, name, tmp_path):
        folder = Path(os.environ.get(ARTEFACTS, tmp_path))
        folder.mkdir(parents=True, exist_ok=True)
        self.screenshot(folder / f"map-{name}.png")

    def on_screen(self, x, y):
        """Of a place on the grid."""
        left, top, _, _ = self.box("#map")
        across, down = self.js(f"spectroMap.view.toScreen({x}, {y})")
        return left + across, top + down

    def drag(self, start, end, steps=8, **params):
        held = {"button": "left", "buttons": 1, **params}
        self.pointer("mouseMoved", *start, **params)
        self.pointer("mousePressed", *start, clickCount=1, **held)
        for step in range(1, steps + 1):
            share = step / steps
            place = [a + (b - a) * share for a, b in zip(start, end, strict=True)]
            self.pointer("mouseMoved", *place, **held)
        self.pointer("mouseReleased", *end, clickCount=1, **held)

    def outside(self):
        """Requests to any other place."""
        return [url for url in self.requests() if not url.startswith((self.address, "data:"))]
