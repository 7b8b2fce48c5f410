"""Commands and Python blocks of README.md and docs/*.md, and how the tests check each."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

ONLY_COMPOSED = {
    r"\bexperiment=": "weights and text of a published run come from the hub",
    r"s3://": "needs a bucket (tests/servers has one for storage)",
    r"ray_address=auto": "joins the machine's Ray cluster",
    r"^calibrate ": "measures for minutes (tests/jobs/test_calibrate_job.py runs it)",
    r"^upsample ": "trains networks (tests/jobs/test_upsample_job.py runs it)",
    r"^pipeline (?!--help)": "a whole run with the settings of a long one (tests/run runs it)",
    r"^plan .*plan.bill": "the bill of an upsampled run",
    r"^sae |kind=sae|from (all_)?features": "of the embedded model (tests/report/"
    "test_autoencoder_run.py, test_autoencoder_views.py)",
    r"^autoencoder ": "trains for minutes (tests/pretrain/test_train_autoencoder.py runs it)",
    r"^pretrain ": "trains for an hour (tests/pretrain/test_pretraining.py runs it)",
    r"every_seconds=": "repeats until it is interrupted",
    r"tokens=jsonl": "the reader's own text",
    r"^map |kind=map|^publish ": "laid out by UMAP, which compiles first (tests/run/"
    "test_map_real_run.py, tests/report/test_publish.py)",
    r"model.revision=": "revisions come from the hub",
    r"kind=(training|flow)": "runs of several checkpoints (tests/run/test_training_curves.py, "
    "test_training_clusters.py)",
    r"^pattern ": "responses of a tiny run are noise (tests/run/test_pattern_of_runs.py)",
    r"chain.draws=per_shard": "the settings of a run to upsample from",
}
"""Commands that are composed, not run, and why; patterns of the words after `spectro`."""
ON_SERVERS = ("docker ", "kubectl ", "sbatch ", "srun ", "git ", "make ", "duckdb ")
"""Other programs; what they are given is checked by tests/docker, tests/k8s, the Makefile and
tests/run/test_slurm.py."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command line of a page."""

    page: str
    line: int
    words: tuple[str, ...]
    """What follows `spectro`, as the shell would split it."""

    @property
    def why_only_composed(self) -> str | None:
        """Why the command is not run, None where it is."""
        text = " ".join(self.words)
        reasons = [why for pattern, why in ONLY_COMPOSED.items() if re.search(pattern, text)]
        return reasons[0] if reasons else None


def blocks(page: Path) -> list[tuple[int, str]]:
    """Indented and fenced blocks without a language, with the line that each begins at."""
    found: list[tuple[int, list[str]]] = []
    fence: str | None = None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith("```"):
            fence = None if fence is not None else line.removeprefix("```")
            found.append((number + 1, []))
        elif fence == "" or (fence is None and line.startswith("    ")):
            if not found or number != found[-1][0] + len(found[-1][1]):
                found.append((number, []))
            found[-1][1].append(line.removeprefix("    "))
    return [(number, "\n".join(lines)) for number, lines in found if lines]


def python_blocks(page: Path) -> list[tuple[int, str]]:
    """Fenced Python, and indented blocks that begin with an import."""
    text = page.read_text()
    fenced = [
        (text[: match.start()].count("\n") + 2, match[1])
        for match in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]
    indented = [(number, code) for number, code in blocks(page) if code.startswith("import ")]
    return [*fenced, *indented]


def commands(page: Path) -> list[Command]:
    """Command lines of blocks, and of code within the text, in the page's order."""
    found: list[tuple[int, str]] = []
    for start, block in blocks(page):
        if block.startswith("import "):
            continue
        joined = re.sub(r"\\\n\s*", " ", block)
        for offset, line in enumerate(joined.splitlines()):
            if line.startswith("spectro "):
                found.append((start + offset, line))
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith("    "):
            continue
        for code in re.findall(r"`([^`]+)`", line):
            if code.startswith("… kind="):
                code = code.replace("…", "spectro figure <run>", 1)
            if re.match(r"spectro \w+", code):
                found.append((number, code))
    lines = sorted(found, key=lambda item: item[0])
    return [Command(page=page.name, line=number, words=split(line)) for number, line in lines]


def split(line: str) -> tuple[str, ...]:
    """Words after `spectro`; comments and pipes left out, places filled in."""
    line = (
        line.partition(" | ")[0].replace("<other run>", "runs/other").replace("<run>", "runs/demo")
    )
    words = shlex.split(line, comments=True)[1:]
    return tuple(words)
