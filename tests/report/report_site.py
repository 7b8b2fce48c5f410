"""The page of a run in a browser, and what tests ask of it."""

import json
import os
from pathlib import Path

import browser
import made_up_run
from spectro.views.page.page import render

from spectro.views.page.config import ReportConfig

ARTEFACTS = "SPECTRO_SCREENSHOTS"
"""Environment variable: a folder that keeps the screenshots."""
CONFIG = ReportConfig(max_points=400, max_cards=20)
NUM_CLUSTERS = 24
OPEN = "document.querySelector('#card h3')?.textContent ?? null"
"""Heading of the open card."""
ACTIVE = "document.querySelector('#table').getAttribute('aria-activedescendant')"
"""Row that the keys mean."""


def made_run():
    """2048 tokens in 24 clusters, the 20 largest with cards."""
    return made_up_run.run(CONFIG, num_sequences=64, context=32, num_clusters=NUM_CLUSTERS)


class ReportPage(browser.Browser):
    """One browser for many pages, each checked when it is left."""

    def __init__(self, folder):
        super().__init__(folder / "profile")
        self.path = folder / "index.html"

    def show(self, run, config=CONFIG, query="", width=1400, height=1000):
        """Open a run's page afresh."""
        self("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank'")
        self.events.clear()
        self.path.write_text(render(run, config), encoding="utf-8")
        self.resize(width, height)
        self.open(self.path, query)
        return self

    def check(self):
        """Nothing was complained of, nothing else was asked for."""
        assert self.complaints() == []
        asked = {url.partition("#")[0].partition("?")[0] for url in self.requests()}
        assert asked == {self.path.as_uri()}

    def texts(self, selector):
        found = f"[...document.querySelectorAll({json.dumps(selector)})]"
        return self.js(f"{found}.map(node => node.textContent)")

    def cells(self, selector):
        """Texts of the cells of some rows."""
        found = f"[...document.querySelectorAll({json.dumps(selector)})]"
        return self.js(f"{found}.map(row => [...row.children].map(cell => cell.textContent))")

    def attribute(self, selector, name):
        found = f"document.querySelector({json.dumps(selector)})"
        return self.js(f"{found}.getAttribute({json.dumps(name)})")

    def press_on(self, selector):
        """A click, as the page's own controls get it."""
        self.js(f"document.querySelector({json.dumps(selector)}).click()")

    def ids(self):
        """Clusters of the rows that are drawn."""
        rows = "document.querySelectorAll('#body tr[data-id]')"
        return self.js(f"[...{rows}].map(row => Number(row.dataset.id))")

    def search(self, text):
        """Type, and wait until the page has followed."""
        self.set("#search", text, "input")
        said = "new URLSearchParams(location.hash.slice(1)).get('search') ?? ''"
        self.wait(f"({said}) === {json.dumps(text)}")

    def sort(self, key):
        self.press_on(f"th[data-key={key}] button")

    def open_row(self, cluster):
        self.press_on(f'tr[data-id="{cluster}"] td')

    def count_said(self):
        return self.text("#summary")

    def shot(self, name):
        """Keep a picture where pictures are asked for."""
        if folder := os.environ.get(ARTEFACTS):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.screenshot(Path(folder) / f"report-{name}.png")
