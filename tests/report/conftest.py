"""One small map and one made-up run, and a browser for the tests of each one's page."""

import browser
import made_map
import map_site
import pytest
import report_site

from spectro.views.map.serve import served


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
def report_window(tmp_path_factory):
    one = report_site.ReportPage(tmp_path_factory.mktemp("report"))
    yield one
    one.close()


@pytest.fixture(scope="session")
def report_made():
    return report_site.made_run()


@pytest.fixture
def open_report(report_window):
    """Opens pages of runs; at the end nothing was complained of or asked of the world."""
    yield report_window.show
    report_window.check()


@pytest.fixture
def report_page(open_report, report_made):
    """The page of one run as it opens."""
    return open_report(report_made)
