"""`spectro verify run.uri=<run>`: re-read all of a run against its checksums and counts.

Reads storage alone: no model, no Ray. Status 1 if an object is damaged, missing or unknown; each is
named, with what to do. A run that still goes on is not damaged for being incomplete.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.launch import launch
from jobs.look import StoredRun
from jobs.stored import stored_config
from spectro.inspect.verify import Verification, verify_run
from spectro.storage.store import DamagedObjectError, Store
from spectro.tokens.display.terminal_text import plain_string
from spectro.work.errors import UnitError
from spectro.work.progress import Progress

NAMES = 3
"""Objects that are named of many."""


@dataclass(frozen=True, kw_only=True)
class VerifyJob:
    """Which run."""

    run: StoredRun
    """Its folder."""


def main() -> int:
    """Compose, verify; returns the exit status."""
    return launch("verify", "verify_job", VerifyJob, _verify)


def _verify(job: VerifyJob) -> None:
    console = Console(soft_wrap=True)
    try:
        config = stored_config(job.run.uri)
    except DamagedObjectError as error:  # work that must be done again, not a wrong argument
        raise UnitError(f"{error} Restore it from a copy: nothing else can be judged") from error
    with Progress(console) as progress:
        progress.add("verify", 1.0)
        found = verify_run(
            Store(job.run.uri), config,
            lambda done, total: progress.update("verify", done / total if total else 1.0),
        )  # fmt: skip
        progress.update("verify", 1.0)
    _tell(console, found)
    if found.faults:
        raise UnitError(f"{len(found.faults)} objects of {found.uri} are not as they should be")


def _tell(console: Console, found: Verification) -> None:
    table = Table(title=Text(plain_string(found.uri)), title_justify="left")
    for name in ("kind", "objects", "bytes", "damaged", "missing", "unknown"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    for kind, count in found.kinds.items():
        faults = [str(n) if n else "" for n in (count.damaged, count.missing, count.unknown)]
        table.add_row(kind, str(count.objects), f"{count.size_bytes:,}", *faults)
    console.print(table)
    for fault in found.faults:
        console.print(f"{fault.what}: {fault.name}: {fault.message}", highlight=False, markup=False)
    if found.leftovers:
        more = ", ..." if len(found.leftovers) > NAMES else ""
        console.print(
            f"{len(found.leftovers)} objects are left over from writers that died, and may be "
            f"deleted: {', '.join(found.leftovers[:NAMES])}{more}",
            highlight=False,
            markup=False,
        )
    console.print(verdict(found), highlight=False)


def verdict(found: Verification) -> str:
    """One line: how far the run is, and whether what is there is whole."""
    wrong = f"{len(found.faults)} faults"
    whole = wrong if found.faults else "what is there is whole"
    if found.units is None:
        return f"the run's tokens are not there yet, nor how many units it has; {whole}"
    if not found.undone:
        return f"all {found.units} units done; {wrong if found.faults else 'the run is whole'}"
    names = ", ".join(found.undone[:NAMES]) + (", ..." if len(found.undone) > NAMES else "")
    done = found.units - len(found.undone)
    return f"{done} of {found.units} units done; {whole} (to do: {names})"


if __name__ == "__main__":
    sys.exit(main())
