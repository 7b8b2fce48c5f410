"""Citations and paths: sections of the design, ADRs, and files named in docs are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
FOLDERS = ("spectro", "jobs", "conf", "tests", "benchmarks", "docs", "k8s", "docker", "slurm")
CODE = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".md", ".yaml", ".js", ".css", ".cpu", ".cuda"}
    and path != Path(__file__)
)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SECTIONS = set(
    re.findall(r"^##+ (\d+(?:\.\d+)?)\.? ", (ROOT / "docs/design.md").read_text(), re.MULTILINE)
)
ADRS = {path.name[:3] for path in (ROOT / "docs/adr").glob("*.md")}
WORDS = [
    "susceptibility",
    "component",
    "group",
    "draw",
    "chain",
    "chain batch",
    "thinning interval",
]
WORDS += [
    "burn-in",
    "nbeta",
    "gamma",
    "effective sample size (ESS)",
    "sampler bias",
    "tile",
    "part",
]
WORDS += ["restricted estimator", "uniform mode", "kNN graph", "conductance", "seed", "proposal"]
WORDS += [
    "holds",
    "unit",
    "stage",
    "worker",
    "heartbeat",
    "retry budget",
    "checkpoint",
    "token shard",
]
WORDS += ["fingerprint"]
CITATION = re.compile(r"design(?:\.md)? (§\d[§\d.,–\-\s]*)")
PLACES = ("", "spectro/", "docs/", "spectro/views/")


def test_every_cited_section_of_the_design_is_a_heading() -> None:
    for path in CODE:
        for citation in CITATION.findall(path.read_text()):
            for number in re.findall(r"§\s*(\d+(?:\.\d+)?)", citation):
                assert number in SECTIONS, f"{path.relative_to(ROOT)} cites design §{number}"


def test_every_cited_adr_is_there() -> None:
    for path in [*CODE, *PAGES]:
        for numbers in re.findall(r"ADRs? ((?:\d{3}(?:, | and )?)+)", path.read_text()):
            for number in re.findall(r"\d{3}", numbers):
                assert number in ADRS, f"{path.relative_to(ROOT)} cites ADR {number}"


def test_no_file_cites_a_document_that_is_not_there() -> None:
    for path in [*CODE, *PAGES]:
        for name in re.findall(r"\b(docs/[\w/\-]+\.md)\b", path.read_text()):
            assert (ROOT / name).exists(), f"{path.relative_to(ROOT)} cites {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), f"{page.name} links {target}"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in anchors, f"{page.name} links {target}"


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_named_files_exist(page: str) -> None:
    """The vocabulary's and the architecture's files; a bare name follows its folder."""
    for cell in re.findall(r"[^|\n]+", (ROOT / page).read_text()):
        folder = ""
        for name in re.findall(r"`((?:[\w.\-]+/)*[\w\-]+\.(?:py|yaml|cff))`", cell):
            candidates = [f"{place}{name}" for place in PLACES] + [f"{folder}/{name}"]
            found = [path for path in candidates if (ROOT / path).exists()]
            if name in ("run.yaml",):
                continue
            assert found, f"{page} names {name}"
            folder = str(Path(found[0]).parent)
    for folder in re.findall(r"`((?:[\w\-]+/)+)`", (ROOT / page).read_text()):
        in_run = folder.startswith(("control", "nbeta", "neighbours", "clusters", "report", "map"))
        in_run |= folder in {"susceptibilities/", "halves/", "predictor/", "deviations/"}
        places = [ROOT / f"{place}{folder}" for place in PLACES]
        assert in_run or any(path.is_dir() for path in places), f"{page} names {folder}"


def test_vocabulary_has_the_words_that_a_reader_searches() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().lower()
    table = text[text.index("## vocabulary") :]
    assert [word for word in WORDS if f"| {word.lower()}" not in table] == []


def test_citation_file_names_the_papers_of_the_readme() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= cited.keys()
    text = (ROOT / "CITATION.cff").read_text()
    for number in re.findall(r"arXiv:? ?(\d{4}\.\d{5})", (ROOT / "README.md").read_text()):
        assert number in text
    assert "Apache License" in (ROOT / "LICENSE").read_text()
