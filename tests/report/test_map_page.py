"""The page of the cluster map in a real browser: it draws, finds, opens, counts and links."""

import json

import browser
import made_map
import map_site
import numpy as np
import pytest

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        browser.find() is None,
        reason=f"no browser: none of {', '.join(browser.NAMES)} is installed",
    ),
]
NUM_TOKENS, NUM_CLUSTERS = map_site.NUM_TOKENS, map_site.NUM_CLUSTERS


def shown(clusters, tokens, *, of_clusters=NUM_CLUSTERS, of_tokens=NUM_TOKENS):
    return f"{clusters} of {of_clusters} clusters, {tokens:,} of {of_tokens:,} tokens drawn"


COLOURS_OF_CANVAS = """(() => {
  const from = document.querySelector('#map canvas'), to = document.createElement('canvas');
  [to.width, to.height] = [from.width, from.height];
  const pen = to.getContext('2d');
  pen.drawImage(from, 0, 0);
  const data = new Uint32Array(pen.getImageData(0, 0, to.width, to.height).data.buffer);
  return new Set(data).size;
})()"""


def test_it_draws_all_and_says_what(map_page, map_made, tmp_path):
    data, _ = map_made
    assert map_page.js(COLOURS_OF_CANVAS) > 50
    assert map_page.summary() == shown(NUM_CLUSTERS, NUM_TOKENS)
    assert map_page.count("#list .row") == NUM_CLUSTERS
    assert map_page.text("#title") == data.title
    assert map_page.count("#labels .label:not([hidden])") > 5
    run = map_page.text("#run-view")
    for said in ("All 6,000 tokens", "seed: 0", data.facts[0][1]):
        assert said in run
    map_page.change(view="control")
    rows = map_page.js(
        "[...document.querySelectorAll('#control-body tbody tr')].map(r => r.innerText)"
    )
    inside = int((data.tokens.cluster >= 0).sum())
    assert rows[0].split("\t")[:3] == ["run", str(NUM_CLUSTERS), f"{inside:,} (50 %)"]
    assert rows[1].split("\t")[1] == str(data.control["clusters"])
    assert f"{sum(data.control['sizes']):,}" in rows[1]
    map_page.shot("control", tmp_path)


@pytest.mark.parametrize("mode", ["cluster", "conductance", "stability", "region"])
def test_colours_follow_the_mode(map_page, mode):
    pixels = "document.querySelector('#map canvas').toDataURL()"
    before = map_page.js(pixels)
    map_page.set("#colour", mode, "change")
    map_page.settle()
    map_page.wait(f"{pixels} !== {json.dumps(before)}")
    assert mode in map_page.text("#meaning").lower().replace("ids", "cluster")
    assert f"colour={mode}" in map_page.js("location.hash")


def says(query):
    """Ids of the vocabulary whose text has the query, either case."""
    said = [None if w is None else w.decode("utf-8", "replace") for w in made_map.words()]
    return [i for i, word in enumerate(said) if word is not None and query in word.lower()]


@pytest.mark.parametrize("query", [" ab", "script", "\u05dc", "an", "zzzz"])
def test_search_by_text_finds_tokens_and_their_clusters(map_page, map_made, query):
    tokens = map_made[0].tokens
    found = np.isin(tokens.token, says(query))
    clusters = np.unique(tokens.cluster[found & (tokens.cluster >= 0)])
    map_page.type_search(query)
    noun = "token" if found.sum() == 1 else "tokens"
    expected = f"{found.sum():,} {noun} of 6,000 drawn in {len(clusters)} of 24 clusters"
    assert map_page.summary() == expected
    assert map_page.count("#list .row") == len(clusters)
    assert map_page.js("spectroMap.model.tally.lit.length") == found.sum()


def test_white_space_is_searched_and_shown(map_page, map_made):
    tokens = map_made[0].tokens
    for typed in ("\t", "⇥"):
        map_page.type_search(typed)
        # the vocabulary has one tab
        assert map_page.summary().startswith(f"{(tokens.token == 9).sum():,} tokens")
    map_page.type_search("    ")
    assert map_page.text("#typed .token") == "····"
    assert map_page.summary().startswith(f"{(tokens.token == 8).sum():,} tokens")


def test_search_by_id_subset_size_and_region(map_page, map_made):
    clusters, tokens = map_made[0].clusters, map_made[0].tokens
    map_page.type_search("#7")
    assert map_page.summary().endswith("drawn in 1 of 24 clusters")
    assert map_page.summary().startswith(f"{clusters.size[7]} tokens")
    map_page.type_search("size:100-200")
    listed = ((clusters.size >= 100) & (clusters.size <= 200)).sum()
    assert map_page.count("#list .row") == listed
    map_page.type_search("subset:markup")
    markup = made_map.SUBSETS.index("markup")
    assert map_page.count("#list .row") == (clusters.subset == markup).sum()
    assert map_page.summary().startswith(f"{(tokens.subset == markup).sum():,} tokens")
    map_page.type_search("region:0")
    assert map_page.count("#list .row") == (clusters.region == 0).sum() > 0


def test_filters_count_right(map_page, map_made):
    clusters, tokens = map_made[0].clusters, map_made[0].tokens
    inside = tokens.cluster >= 0
    map_page.js("document.querySelector('#subsets li:nth-child(2) input').click()")
    map_page.settle()
    assert map_page.summary() == shown((clusters.subset != 1).sum(), (tokens.subset != 1).sum())
    numbers = map_page.js(
        "[...document.querySelectorAll('#subsets .count')].map(n => n.textContent)"
    )
    per_subset = np.bincount(tokens.subset, minlength=8)
    assert numbers[:8] == [f"{number:,}" for number in per_subset]
    map_page.js("document.querySelector('#subsets li:nth-child(2) input').click()")
    map_page.js("document.querySelector('#subsets li:last-child input').click()")
    map_page.settle()
    assert map_page.summary() == shown(24, inside.sum())
    map_page.js("document.querySelector('#typed .link').click()")
    map_page.set("#size-least", "150", "input")
    map_page.set("#conductance-most", "0.3", "input")
    map_page.settle()
    passes = (clusters.size >= 150) & (clusters.conductance <= 0.3)
    drawn = ~inside | passes[tokens.cluster]
    assert map_page.summary() == shown(passes.sum(), drawn.sum())
    map_page.js("document.querySelector('#typed .link').click()")
    map_page.set("#stability-least", "0.5", "input")
    map_page.settle()
    passes = clusters.stability >= 0.5  # what is not known does not pass
    assert map_page.summary() == shown(passes.sum(), (~inside | passes[tokens.cluster]).sum())
    map_page.js("document.querySelector('#typed .link').click()")
    map_page.set("#region", "1", "change")
    map_page.settle()
    passes = clusters.region == 1
    assert map_page.summary() == shown(passes.sum(), (~inside | passes[tokens.cluster]).sum())
    drawn = "spectroMap.view.scene.blocks.reduce((n, block) => n + block.data.length, 0)"
    assert map_page.js(drawn) == (~inside | passes[tokens.cluster]).sum()


def test_sorting_puts_what_is_not_known_last(map_page, map_made):
    clusters = map_made[0].clusters
    map_page.set("#sort", "stability", "change")
    map_page.settle()
    ids = map_page.js("[...document.querySelectorAll('#list .row')].map(r => Number(r.dataset.id))")
    values = clusters.stability[ids]
    known = values[~np.isnan(values)]
    assert list(known) == sorted(known, reverse=True)
    assert np.isnan(values[len(known) :]).all()
    map_page.set("#sort", "conductance", "change")
    map_page.settle()
    ids = map_page.js("[...document.querySelectorAll('#list .row')].map(r => Number(r.dataset.id))")
    assert list(clusters.conductance[ids]) == sorted(clusters.conductance)


STATE = {
    "query": "an & <b>#=;", "colour": "stability", "sort": "matches", "loose": False,
    "size": [30, 400], "region": 1, "open": 5, "panel": "card",
}  # fmt: skip
VISIBLE = "JSON.stringify([spectroMap.state, [...spectroMap.state.hidden]])"


def test_the_address_opens_the_same(map_page, map_made):
    map_page.js(f"spectroMap.change({{...{json.dumps(STATE)}, hidden: new Set([0, 3])}})")
    map_page.js("document.querySelector('#map').focus()")
    for key in ("+", "ArrowLeft"):
        map_page.press(key)
        map_page.wait("spectroMap.view.isMoving")
        map_page.settle()
    address, said = map_page.js("location.hash"), map_page.js(VISIBLE)
    at, summary = map_page.js("spectroMap.view.at"), map_page.summary()
    place = map_page.js("spectroMap.state.place")
    assert abs(place["zoom"] - at["zoom"]) < 0.01 and abs(place["x"] / 64 - at["x"]) < 0.01
    assert f"at={place['x']}%2C{place['y']}%2C{place['zoom']:.2f}" in address
    map_page.visit(map_made[1], address)
    assert map_page.js(VISIBLE) == said and map_page.summary() == summary
    again = map_page.js("spectroMap.view.at")
    assert all(abs(again[name] - at[name]) < 0.02 for name in ("x", "y", "zoom"))
    assert map_page.js("location.hash") == address
    assert map_page.text("#card h2") == "Cluster #5"


def test_back_and_edited_addresses_are_followed(map_page):
    map_page.js("spectroMap.change({ open: 3, panel: 'card' })")
    map_page.js("spectroMap.change({ open: 4, panel: 'card' })")
    map_page.js("history.back()")
    map_page.wait("spectroMap.state.open === 3")
    map_page.js("location.hash = '#cluster=6&colour=region&at=30000,30000,1.5'")
    map_page.wait("spectroMap.state.open === 6 && spectroMap.state.colour === 'region'")
    map_page.wait("!spectroMap.view.isBusy() && Math.abs(spectroMap.view.at.zoom - 1.5) < 0.01")
    map_page.js(
        "location.hash = '#cluster=999999&colour=%00&hide=x,-1&size=..&at=1,2,oops&shape=1'"
    )
    map_page.wait("spectroMap.state.open === null && spectroMap.state.colour === 'subset'")
    map_page.settle()
    assert map_page.summary() == shown(NUM_CLUSTERS, NUM_TOKENS)
