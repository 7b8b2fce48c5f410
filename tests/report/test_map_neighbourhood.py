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
GLYPHS = {0xE000: None, 0xE001: None, 0xE002: "·", 0xE003: "⏎", 0xE004: "⇥"}
"""How the page shows the display alphabet."""
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
    assert "No cluster or region with a name has tokens in it." in map_page.text("#selection")
    result = stats(map_page)
    assert result["members"] == "0" and result["conductance"] == "–"
    assert map_page.count("#selection .action") == 0


def best_fit(data, inside):
    """Names, F1, precision and recall of the clusters or the region that fit best, by trying all.

    The clusters are chosen one after the other, as is said on the page.
    """
    cluster, names = data.tokens.cluster, data.names["shown"]

    def score(ids):
        named = np.isin(cluster, ids)
        both = int((named & inside).sum())
        return 2 * both / (named.sum() + inside.sum()), both / max(1, named.sum())

    chosen = []
    for _ in range(3):
        more = [[*chosen, k] for k in range(len(names)) if names[k] and k not in chosen]
        best = max(more, key=lambda ids: score(ids)[0])
        if score(best)[0] <= score(chosen)[0]:
            break
        chosen = best
    found = {" + ".join(dict.fromkeys(names[k] for k in chosen)): chosen}
    for region in data.regions:
        found[f"region {region.name}"] = np.flatnonzero(data.clusters.region == region.id)
    name = max(found, key=lambda name: score(found[name])[0])
    f1, precision = score(found[name])
    recall = (np.isin(cluster, found[name]) & inside).sum() / inside.sum()
    return name, f1, precision, recall


def percent(share):
    return "< 1 %" if 0 < share < 0.005 else f"{int(np.floor(100 * share + 0.5))} %"


@pytest.mark.parametrize("which", ["half", "small", "region", "clusters"])
def test_its_name_is_that_of_what_fits_it_best(map_page, map_made, which, tmp_path):
    data, _ = map_made
    x, y = data.tokens.x.astype(float), data.tokens.y.astype(float)
    if which == "clusters":
        select(map_page, clusters=[2, 5, 7])
        inside = np.isin(data.tokens.cluster, [2, 5, 7])
    else:
        at = {"half": (0, 0), "small": (data.clusters.x[4], data.clusters.y[4]),
              "region": data.regions[0].at}[which]  # fmt: skip
        reach = {"half": float(np.median(x)), "small": 2500, "region": 9000}[which]
        (left, low), (right, top) = np.array(at) - reach - 0.5, np.array(at) + reach + 0.5
        top = 65535.5 if which == "half" else top
        select(map_page, shape=[[left, low], [right, low], [right, top], [left, top]])
        inside = (x > left) & (x < right) & (y > low) & (y < top)
    name, f1, precision, recall = best_fit(data, inside)
    assert map_page.text("#selection p.set-name") == name.translate(GLYPHS)
    them, their = ("this region", "its") if name.startswith("region ") else (
        "these clusters", "their")  # fmt: skip
    assert map_page.text("#selection p.set-name + p") == (
        f"F1 {f1:.2f} over the tokens drawn: {percent(recall)} of those selected are in {them}, "
        f"{percent(precision)} of {their} tokens are selected"
    )
    map_page.shot(f"named-{which}", tmp_path)


def test_every_cluster_has_its_shares(map_page, map_made):
    data, _ = map_made
    shape, inside, flags = halfway(data)
    select(map_page, shape=shape)
    cluster, num = data.tokens.cluster, len(data.clusters)
    own = np.bincount(cluster[inside & (cluster >= 0)], minlength=num)
    drawn = np.bincount(cluster[cluster >= 0], minlength=num)
    order = [k for k in np.lexsort((np.arange(num), -data.clusters.size.astype(int), -own))
             if own[k] or flags[k]]  # fmt: skip
    rows = map_page.js(
        "[...document.querySelectorAll('#selection .row')]"
        ".map(n => [n.getAttribute('aria-label'), n.querySelector('.row-size').textContent])"
    )
    assert [label.split(",")[0] for label, _ in rows] == [f"Cluster {k}" for k in order]
    assert [shares for _, shares in rows] == [
        f"{percent(own[k] / inside.sum())} · {percent(own[k] / drawn[k])}" for k in order
    ]


def test_a_cluster_with_its_neighbours_has_the_name_by_a_rule(map_page, map_made):
    data, _ = map_made
    map_page.change(open=6, panel="card")
    map_page.js(
        "[...document.querySelectorAll('#card .action')]"
        ".find(n => n.textContent === 'Select neighbourhood').click()"
    )
    map_page.wait(PROFILE)
    said = map_page.text("#selection").split("by a rule: ")
    assert len(said) == 2 and "; F1 0.25 on held-out sequences" in said[1]
    near = [6, *data.clusters.neighbours[6].tolist()]
    select(map_page, clusters=near[:-1])
    assert "by a rule" not in map_page.text("#selection")


def test_its_clusters_open_and_lead_back(map_page):
    select(map_page, clusters=[2, 5])
    map_page.js("document.querySelector('#selection .row').click()")
    assert map_page.text("#card h2") == "Cluster #2"
    map_page.press("Escape")
    assert map_page.js("spectroMap.state.panel") == "selection"
    assert map_page.count("#selection .profile g") == 22
