"""The map of the control beside the run's, tokens assigned later, and a view of all that fits."""

import dataclasses

import browser
import made_map
import map_site
import numpy as np
import pytest

from spectro.views.map.serve import served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(
        browser.find() is None,
        reason=f"no browser: none of {', '.join(browser.NAMES)} is installed",
    ),
]


@pytest.fixture
def opened(tmp_path):
    """Writes a map, serves it, opens it in a browser of its own."""
    windows = []

    def open_map(*numbers, **fields):
        data = made_map.write_made_map(tmp_path / "map", *numbers, **fields)
        site = served(tmp_path / "map")
        windows.append((site, map_site.MapPage(tmp_path / "profile", graphics=browser.WEBGL)))
        windows[-1][1].visit(site.__enter__())
        return data, windows[-1][1]

    yield open_map
    for site, window in windows:
        assert window.complaints() == []
        assert window.outside() == []
        window.close()
        site.__exit__(None, None, None)


def href(page, number):
    return page.js(f"document.querySelectorAll('#maps a')[{number}].href")


def test_run_and_control_lead_to_each_other(opened, tmp_path):
    control = made_map.made_map(1500, 7, 3, title="made / control", is_control=True, control=None)
    _, page = opened(2000, 12, control_map=control)
    base = page.address
    assert page.text("#maps") == "runnβ = 0 control"
    assert page.text("#maps [aria-current]") == "run"
    page.type_search("an")
    page.change(colour="conductance")
    other = href(page, 1)
    assert other.startswith(f"{base}?map=control#") and "search=an" in other
    page.shot("switch", tmp_path)
    page.visit(base, other.removeprefix(base))
    assert page.text("#maps [aria-current]") == "nβ = 0 control"
    assert page.text("#title") == "made / control"
    assert page.js("spectroMap.state.query") == "an"
    assert page.js("spectroMap.state.colour") == "conductance"
    assert "of 7 clusters" in page.summary()
    assert all("/control/" in url for url in page.requests() if url.endswith(".bin"))
    page.type_search("#3")
    page.js("document.querySelector('#list .row').click()")
    page.wait("document.querySelectorAll('#card .context .lit').length > 5")
    assert "?map=control#" in page.js("location.href"), "what is seen stays in the address"
    assert "search" not in href(page, 0), "ids are others there"
    page.change(view="control")
    assert "the nβ = 0 control itself" in page.text("#control-body")
    page.visit(base, href(page, 0).removeprefix(base))
    assert page.text("#title") == "A made-up map"
    assert "of 12 clusters" in page.summary()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"control": None}, "no nβ = 0 control"),
        ({}, "nβ = 0 not drawn"),
        ({"control": None, "is_control": True}, "this is a control, nβ = 0"),
    ],
)
def test_why_there_is_no_way_to_a_control(opened, fields, said):
    _, page = opened(300, 3, **fields)
    assert page.text("#maps") == said and page.count("#maps a") == 0


def assigned_map():
    """A third of the tokens in no cluster are assigned to one of the first three."""
    base = made_map.made_map(3000, 10)
    cluster = base.tokens.cluster.copy()
    loose = np.flatnonzero(cluster == -1)
    chosen = loose[::3]
    home = np.arange(len(chosen)) % 3
    cluster[chosen] = -2 - home
    examples = np.full((10, 2), -1.0)
    for own in range(3):
        examples[own] = base.tokens.token_id[chosen[home == own][:2]]
    return {
        "tokens": dataclasses.replace(base.tokens, cluster=cluster),
        "clusters": dataclasses.replace(
            base.clusters,
            assigned=np.bincount(home, minlength=10).astype(np.uint32),
            assigned_examples=examples,
        ),
        "assigned": {"tokens": len(chosen), "of": len(loose), "config": {}},
    }


def test_tokens_assigned_later_are_told_apart(opened, tmp_path):
    fields = assigned_map()
    data, page = opened(3000, 10, **fields)
    cluster, number = data.tokens.cluster, fields["assigned"]["tokens"]
    page.type_search("assigned:")
    assert page.summary() == f"{number:,} tokens of 3,000 drawn in 3 of 10 clusters"
    page.shot("assigned", tmp_path)
    page.type_search("assigned:#1")
    assert page.summary().startswith(f"{(cluster == -3).sum():,} tokens of")
    page.type_search("")
    page.change(open=1, panel="card")
    lit = (cluster == 1) | (cluster == -3)
    assert page.js("spectroMap.model.tally.lit.length") == lit.sum()
    page.wait("document.querySelectorAll('[aria-label=\"Tokens assigned later\"] .lit').length===2")
    assert f"{(cluster == -3).sum():,} tokens that were added" in page.text("#card")
    page.change(open=5)
    assert "Assigned later" not in page.text("#card")
    page.change(open=None, panel="list", assigned=False)
    assert page.summary() == f"10 of 10 clusters, {3000 - number:,} of 3,000 tokens drawn"
    assert "assigned=0" in page.js("location.hash")
    page.change(assigned=True, size=[1e9, 1e10])
    assert page.summary() == f"0 of 10 clusters, {(cluster == -1).sum():,} of 3,000 tokens drawn"
    added = f"{number:,} of {fields['assigned']['of']:,} tokens that were added"
    assert added in page.text("#tokens-drawn")
    whole = [[-1, -1], [70000, -1], [70000, 70000], [-1, 70000]]
    page.change(panel="selection", selection={"shape": whole}, size=[0, 1e9])
    names = page.js("[...document.querySelectorAll('#selection .stat')].map(n => n.textContent)")
    assert f"{number:,}assigned later" in names


ROOM = """(() => {
  const { view } = spectroMap, [left, low, right, high] = view.scene.span();
  const { open, offsetWidth } = document.querySelector('#controls');
  const { clientWidth, clientHeight } = view.node, scale = 2 ** view.at.zoom;
  const covered = open && clientWidth > 2.2 * offsetWidth ? offsetWidth : 0;
  const across = (right - left) * scale, down = (high - low) * scale;
  return [across / (clientWidth - covered - 68), down / (clientHeight - 68)];
})()"""


@pytest.mark.parametrize("size", [(1600, 900), (390, 844)])
@pytest.mark.parametrize("narrow", [0, 1])
def test_all_fills_the_window(opened, size, narrow, tmp_path):
    """A layout that is flat, one way or the other, is shown as large as there is room."""
    base = made_map.made_map(2000, 9)
    squeezed = [0.3 if axis == narrow else 1.0 for axis in (0, 1)]

    def moved(columns):
        return {
            name: (getattr(columns, name) * factor + 32768 * (1 - factor)).astype(np.uint16)
            for name, factor in zip(("x", "y"), squeezed, strict=True)
        }

    data, page = opened(
        2000, 9, regions=(),
        tokens=dataclasses.replace(base.tokens, **moved(base.tokens)),
        clusters=dataclasses.replace(base.clusters, **moved(base.clusters)),
    )  # fmt: skip
    page.resize(*size)
    page.js("document.querySelector('#zoom-all').click()")
    page.wait("spectroMap.view.isBusy()")
    page.settle()
    across, down = page.js(ROOM)
    assert max(across, down) == pytest.approx(1.0, abs=0.01) and min(across, down) > 0.05
    left, top, width, height = page.box("#map")
    for index in (data.tokens.x.argmin(), data.tokens.x.argmax(), data.tokens.y.argmax()):
        x, y = page.on_screen(int(data.tokens.x[index]), int(data.tokens.y[index]))
        assert left <= x <= left + width and top <= y <= top + height
    page.shot(f"fit-{size[0]}-{narrow}", tmp_path)
