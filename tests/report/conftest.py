"""One small map in a folder, the same in one file, and a browser that opens them; a run with an
autoencoder."""

import dataclasses
import shutil
import warnings
from collections.abc import Iterator

import browser
import made_map
import map_site
import pytest

from spectro.views.map.serve import served
from spectro.views.page.write import render


@pytest.fixture(scope="session")
def map_made(tmp_path_factory):
    """What is in the folder, and its address."""
    folder = tmp_path_factory.mktemp("map")
    data = made_map.write_made_map(folder, map_site.NUM_TOKENS, map_site.NUM_CLUSTERS)
    with served(folder) as address:
        yield data, address


@pytest.fixture(scope="session")
def map_window(tmp_path_factory):
    one = map_site.MapPage(tmp_path_factory.mktemp("profile"), graphics=browser.WEBGL)
    yield one
    one.close()


@pytest.fixture
def map_page(map_window, map_made):
    """The map as it opens; at the end nothing was complained of or asked of the world."""
    if map_window.address == map_made[1]:
        map_window.reset()
    else:
        map_window.visit(map_made[1])
    yield map_window
    assert map_window.complaints() == []
    assert map_window.outside() == []


@pytest.fixture
def opened(tmp_path):
    """Writes a map, serves it, opens it in a window of its own; `script` runs before the page's."""
    windows = []

    def open_map(
        num_tokens, num_clusters, query="", *, graphics=browser.WEBGL, total=None, script="",
        **fields,
    ):  # fmt: skip
        folder = tmp_path / "map"
        made_map.write_made_map(folder, num_tokens, num_clusters, **fields)
        if total is not None:
            map_site.edit(folder, f'"total":{num_tokens}', f'"total":{total}')
        site = served(folder)
        windows.append((site, map_site.MapPage(tmp_path / "profile", graphics=graphics)))
        window = windows[-1][1]
        if script:
            window("Page.addScriptToEvaluateOnNewDocument", source=script)
        window.visit(site.__enter__(), query)
        return window

    yield open_map
    for site, window in windows:
        assert window.complaints() == []
        assert window.outside() == []
        window.close()
        site.__exit__(None, None, None)


@pytest.fixture(scope="session")
def plain_window(tmp_path_factory):
    """Without WebGL2, which views beside the map do not need: pages open several times faster."""
    one = map_site.MapPage(tmp_path_factory.mktemp("plain"), graphics=browser.NO_WEBGL)
    yield one
    one.close()


@pytest.fixture
def table_page(plain_window, map_made):
    """The table of the clusters as it opens."""
    plain_window.visit(map_made[1], "#show=clusters")
    yield plain_window
    assert plain_window.complaints() == []
    assert plain_window.outside() == []


@pytest.fixture
def one_file(plain_window, tmp_path):
    """Opens the viewer of some data as one file, from the disk."""

    def open_file(data, query="", *control, window=plain_window, width=1400, height=1000):
        path = tmp_path / "index.html"
        path.write_text(render(data, *control), encoding="utf-8")
        window.resize(width, height)
        window.visit(path.as_uri(), query)
        used.append(window)
        return window

    used = []
    yield open_file
    for window in used:
        assert window.complaints() == []
        assert window.outside() == []
        window.resize(1400, 1000)


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """A run and an autoencoder that has half of its clusters as features; not to be changed."""
    from planted_autoencoder import put_planted  # loads torch

    return put_planted(tmp_path_factory.mktemp("planted"))


@pytest.fixture
def copied(planted, tmp_path):
    """The same, the run in a folder of the test's own."""
    shutil.copytree(planted.run, tmp_path / "run")
    return dataclasses.replace(planted, run=tmp_path / "run")


@pytest.fixture
def every_warning_is_an_error() -> Iterator[None]:
    """Glyphs that are missing, layouts that collapse, logarithms of zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
