"""Pytest plugin: quick and slow tests, durations per file, and when all tests last passed.

`make test` runs what is not marked slow; `make test-all` runs everything, then writes
durations.json (seconds per file, longest first when tests are ordered) and last_full_run.json.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
DURATIONS = FOLDER / "durations.json"
LAST_FULL_RUN = FOLDER / "last_full_run.json"
QUICK = "not slow"
SLOW_FILE = "\npytestmark = pytest.mark.slow\n"
UNKNOWN_SECONDS = 5.0
"""Of a file that was never measured."""
GROWN_RATIO, GROWN_SECONDS = 2.0, 10.0
"""A file is reported when it took this many times its record, and this much more, at once."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("suite")
    group.addoption("--write-durations", action="store_true", help="update tests/durations.json")
    group.addoption(
        "--full", action="store_true", help="if all passes, write tests/last_full_run.json"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: only `make test-all` runs it (ADR 082)")
    if not hasattr(config, "workerinput"):  # workers send their reports to this process
        config.pluginmanager.register(Recorder(config), "suite-recorder")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files all of whose tests are slow need not be imported for the quick ones."""
    if config.getoption("markexpr") == QUICK and collection_path.suffix == ".py":
        return True if SLOW_FILE in collection_path.read_text() else None
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Longest files first, so that no process starts a long file when the others are done."""
    known = _read_json(DURATIONS)
    seconds = Counter(known.get("quick", {}))
    if any(item.get_closest_marker("slow") for item in items):
        seconds.update(known.get("slow", {}))
    items.sort(key=lambda item: -seconds.get(_file_of(item.nodeid), UNKNOWN_SECONDS))


class Recorder:
    """Adds up seconds per file and counts outcomes; writes and reports them at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._start = time.monotonic()
        self._seconds: dict[str, Counter[str]] = {"quick": Counter(), "slow": Counter()}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        kind = "slow" if "slow" in report.keywords else "quick"
        self._seconds[kind][_file_of(report.nodeid)] += report.duration

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        for line in self._grown():
            terminalreporter.write_line(line)
        if self._config.getoption("write_durations"):
            self._write_durations()
        if self._whole_suite() and exitstatus == pytest.ExitCode.OK:
            self._write_full_run(terminalreporter.stats)
        terminalreporter.write_line(last_full_run())

    def _whole_suite(self) -> bool:
        """Whether all tests were asked for: no path, -k or -m narrowed them."""
        option = self._config.getoption
        narrowed = option("keyword") or option("markexpr") or option("deselect")
        all_paths = self._config.args_source is pytest.Config.ArgsSource.TESTPATHS
        return bool(option("full")) and all_paths and not narrowed

    def _grown(self) -> list[str]:
        """Files that took much longer than recorded, beyond what this machine takes for all."""
        known = _read_json(DURATIONS).get("quick", {})
        took = {file: s for file, s in self._seconds["quick"].items() if file in known}
        if len(took) < 20:
            return []
        pace = max(1.0, sum(took.values()) / sum(known[file] for file in took))
        return [
            f"{file}: {seconds:.0f} s, recorded {known[file]:.0f} s"
            for file, seconds in took.items()
            if seconds > pace * max(GROWN_RATIO * known[file], known[file] + GROWN_SECONDS)
        ]

    def _write_durations(self) -> None:
        known = _read_json(DURATIONS)
        record = {}
        for kind, measured in self._seconds.items():
            merged = known.get(kind, {}) | {f: round(s, 1) for f, s in measured.items()}
            present = {f: s for f, s in merged.items() if (FOLDER.parent / f).exists() and s}
            record[kind] = dict(sorted(present.items(), key=lambda pair: (-pair[1], pair[0])))
        DURATIONS.write_text(json.dumps(record, indent=1) + "\n")

    def _write_full_run(self, stats: dict[str, list[Any]]) -> None:
        record = {
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "commit": _git("rev-parse", "HEAD"),
            "uncommitted_changes": bool(_git("status", "--porcelain", "--", ".", ":!tests/*.json")),
            "minutes": round((time.monotonic() - self._start) / 60, 1),
            "passed": len(stats.get("passed", [])),
            "skipped": len(stats.get("skipped", [])),
        }
        LAST_FULL_RUN.write_text(json.dumps(record, indent=1) + "\n")


def last_full_run() -> str:
    """One line that says when `make test-all` last passed."""
    found = _read_json(LAST_FULL_RUN)
    if not found:
        return "make test-all: no record that it passed"
    return (
        f"make test-all last passed on {found['date']} at commit {found['commit'][:10]}: "
        f"{found['passed']} tests in {found['minutes']} minutes"
    )


def _file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(FOLDER.parent), *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or ("unknown" if arguments[0] == "rev-parse" else "")
