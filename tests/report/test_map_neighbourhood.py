"""A neighbourhood on the page of the cluster map: what it holds, its mean χ, its address."""

import browser
import numpy as np
import pytest

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        browser.find() is None,
        reason=f"no browser: none of {', '.join(browser.NAMES)} is installed",
    ),
]
PROFILE = "document.querySelectorAll('#selection .profile g').length === 22"


def stats(page):
    """Numbers above the profile, by their names."""
    pairs = page.js(
        "[...document.querySelectorAll('#selection .stat')]"
        ".map(n => [n.querySelector('span').textContent, n.querySelector('b').textContent])"
    )
    return dict(pairs)


def mean_profile(data, chosen):
    """Size-weighted mean of the profiles as the folder has them."""
    profile = data.profile_KH.astype(np.float16).astype(float)[chosen]
    size = data.clusters.size[chosen].astype(float)
    return (size[:, None] * profile).sum(axis=0) / size.sum()


def strongest(data, values):
    order = np.argsort(-np.abs(values), kind="stable")[:2]
    sign = {True: "−", False: "+"}
    return ", ".join(
        f"{data.components[i]} {sign[bool(values[i] < 0)]}{abs(values[i]):.2f}" for i in order
    )


def from_to(values, digits):
    known = values[~np.isnan(values)]
    return f"{known.min():.{digits}f} to {known.max():.{digits}f}"


def select(page, **selection):
    page.change(selection=selection, panel="selection")
    page.wait(PROFILE)


@pytest.mark.parametrize("chosen", [[2, 5, 7], [9], list(range(24))])
def test_the_mean_profile_is_weighted_by_size(map_page, map_made, chosen, tmp_path):
    data, _ = map_made
    select(map_page, clusters=chosen)
    said = map_page.text("#selection figcaption")
    assert said == strongest(data, mean_profile(data, chosen))
    result, clusters = stats(map_page), data.clusters
    assert result["members"] == f"{clusters.size[chosen].sum():,}"
    if len(chosen) > 1:
        assert result["conductance"] == from_to(clusters.conductance[chosen], 3)
        assert result["stability"] == from_to(clusters.stability[chosen], 2)
    else:
        assert result["conductance"] == f"{clusters.conductance[9]:.3f}"
    assert set(result) == {"members", "conductance", "stability"}, "nothing lies outside them"
    map_page.shot(f"neighbourhood-{len(chosen)}", tmp_path)


def halfway(data):
    """A shape that no token lies on the edge of, and what it holds."""
    x = data.tokens.x.astype(float)
    right, top = float(np.median(x)) + 0.5, 65535.0
    shape = [[-0.5, -0.5], [right, -0.5], [right, top + 0.5], [-0.5, top + 0.5]]
    return shape, x < right, data.clusters.x.astype(float) < right


def test_tokens_outside_its_clusters_are_said(map_page, map_made):
    data, address = map_made
    shape, inside, flags = halfway(data)
    select(map_page, shape=shape)
    cluster = data.tokens.cluster
    member = inside & (cluster >= 0)
    result = stats(map_page)
    assert result["in no cluster"] == f"{(inside & (cluster == -1)).sum():,}"
    elsewhere = (member & ~flags[cluster]).sum()
    assert elsewhere and result["of other clusters"] == f"{elsewhere:,}"
    assert f"{flags.sum()} clusters, {inside.sum():,} of" in map_page.text("#selection .help")
    map_page.js("document.querySelector('#selection .action').click()")
    map_page.settle()
    chosen = np.flatnonzero(flags).tolist()
    assert map_page.js("spectroMap.state.selection") == {"clusters": chosen}
    assert set(stats(map_page)) == {"members", "conductance", "stability"}
    link = map_page.js("location.hash")
    assert "select=" in link
    said = map_page.text("#selection .help")
    map_page.visit(address, link)
    map_page.wait(PROFILE)
    assert map_page.text("#selection .help") == said


def test_a_shape_is_in_the_address(map_page, map_made):
    shape, _, _ = halfway(map_made[0])
    whole = [[round(x), round(y)] for x, y in shape]
    whole = [[min(max(x, 0), 65535), min(max(y, 0), 65535)] for x, y in whole]
    select(map_page, shape=whole)
    said, link = map_page.text("#selection"), map_page.js("location.hash")
    assert "shape=" in link
    map_page.visit(map_made[1], link)
    map_page.wait(PROFILE)
    assert map_page.text("#selection") == said


def test_where_no_cluster_is(map_page, map_made):
    data, _ = map_made
    corner = [[-0.5, -0.5], [90.5, -0.5], [90.5, 90.5], [-0.5, 90.5]]
    assert not ((data.clusters.x < 91) & (data.clusters.y < 91)).any()
    map_page.change(selection={"shape": corner}, panel="selection")
    assert "no mean χ" in map_page.text("#selection figure")
    result = stats(map_page)
    assert result["members"] == "0" and result["conductance"] == "–"
    assert map_page.count("#selection .action") == 0


def test_its_clusters_open_and_lead_back(map_page):
    select(map_page, clusters=[2, 5])
    map_page.js("document.querySelector('#selection .row').click()")
    assert map_page.text("#card h2") == "Cluster #2"
    map_page.press("Escape")
    assert map_page.js("spectroMap.state.panel") == "selection"
    assert map_page.count("#selection .profile g") == 22
