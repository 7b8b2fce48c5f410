"""The viewer as one file, as text: complete, self-contained, harmless, the same every time."""

import base64
import dataclasses
import gzip
import json
import re

import made_map
import pytest

from spectro.views.page.write import render
from spectro.views.viewer.one_file import bundle, embed, modules
from spectro.views.viewer.packages import page_files


@pytest.fixture(scope="module")
def data():
    return made_map.made_map(640, 4)


@pytest.fixture(scope="module")
def page(data):
    return render(data)


def objects_of(page):
    found = re.search(r'id="objects">(.*?)</script>', page)[1]
    return {
        name: gzip.decompress(base64.b64decode(text)) for name, text in json.loads(found).items()
    }


def test_it_has_the_objects_of_the_folder(page, tmp_path):
    made_map.write_made_map(tmp_path, 640, 4, page=False)
    folder = {
        str(path.relative_to(tmp_path)): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    inlined = objects_of(page)
    assert inlined.pop("deck.js") == dict(page_files())["deck.js"]
    assert inlined == folder


def test_both_packagings_run_the_same_modules(page):
    folder = {name: text.decode() for name, text in page_files() if name.endswith(".js")}
    assert set(modules(("viewer/common", "viewer/page"))) == set(folder) - {"deck.js"}
    index = dict(page_files())["index.html"].decode()
    body = re.search(r"<body>.*<noscript>", index, flags=re.DOTALL)[0]
    assert body in page
    assert "$" not in index.replace("$\u007b", "")


def test_nothing_is_fetched_but_what_is_inlined(page):
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert set(re.findall(r"""(?:src|href)\s*=\s*["']?([^"'>\s]+)""", markup)) == {"data:,"}
    policy = re.search(r'Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'") and "connect-src" not in policy
    assert "unsafe" not in policy and len(re.findall(r"sha256-", policy)) == 3


def test_hostile_text_stays_data(data):
    facts = (("<i>", "</script><script>x"),)
    page = render(dataclasses.replace(data, title="<b>&", facts=facts, provenance="<!--"))
    assert page.count("<script") == page.count("</script") == 2
    assert "<img" not in page and "<title>&lt;b&gt;&amp;</title>" in page
    block = re.search(r'id="objects">(.*?)</script>', page)[1]
    assert block.isascii() and not set("<>&\n") & set(block)
    assert json.loads(objects_of(page)["map.json"])["facts"] == [["<i>", "</script><script>x"]]


def test_without_pydeck_there_is_a_page_without_a_map(data, monkeypatch, caplog):
    monkeypatch.setattr("spectro.views.viewer.packages.find_spec", lambda name: None)
    assert "deck.js" not in objects_of(render(data)) and "pydeck" in caplog.text


def test_a_number_that_is_not_finite_never_reaches_the_page():
    with pytest.raises(ValueError, match="not JSON compliant"):
        embed({"x": float("nan")})


def test_modules_become_one_script_in_the_order_of_their_imports():
    sources = {
        "main.js": 'import { twice as double } from "./twice.js";\nshow(double(2));\n',
        "twice.js": 'import { TWO } from "./two.js";\nexport const twice = (x) => TWO * x;\n',
        "two.js": "export const TWO = 2;\n",
        "unused.js": "",
    }
    script = bundle("main.js", sources)
    assert not re.search(r"^\s*(import|export)\b", script, flags=re.MULTILINE)
    assert script.index("TWO = 2") < script.index("TWO * x") < script.index("show(")
    assert "{ twice: double } = module_twice" in script and "unused" not in script
    with pytest.raises(ValueError, match=r"in a circle: main\.js → twice\.js → main\.js"):
        bundle("main.js", sources | {"twice.js": 'import { a } from "./main.js";\n'})
