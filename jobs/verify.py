"""Re-reads all of a run against its checksums and counts: sequences, chains and their draws, tiles,
rows, clusters, of the run and of its control.

Reads storage alone, without model or Ray. Ends with status 1 if an object is damaged, missing or
unknown, names each of them and says what to do. A run that still goes on is not damaged for being
incomplete; what nobody needs any more is named, and is no fault.

  spectro verify runs/demo
  spectro verify s3://bucket/run
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spectro.inspect.verify import Verification, verify_run
from spectro.storage.store import DamagedObjectError, Store
from spectro.tokens.display.terminal_text import plain_string
from spectro.work.errors import UnitError

from .command import Command
from .output import say, show, table
from .progress import progress
from .reading import StoredRun
from .stored import stored_config

MAX_NAMES = 3
"""Objects that are named of many."""


@dataclass(frozen=True, kw_only=True)
class VerifyJob:
    """Settings of `spectro verify`."""

    run: StoredRun = field(default_factory=StoredRun)
    """Which run."""


def _verify(job: VerifyJob) -> None:
    try:
        config = stored_config(job.run.uri)
    except DamagedObjectError as error:  # work that must be done again, not a wrong argument
        raise UnitError(f"{error} Restore it from a copy: nothing else can be judged") from error
    with progress("verify") as update:
        found = verify_run(Store(job.run.uri), config, update)
    counts = [
        (
            kind,
            str(count.objects),
            f"{count.size_bytes:,}",
            *(str(n) if n else "" for n in (count.damaged, count.missing, count.unknown)),
        )
        for kind, count in found.kinds.items()
    ]
    columns = ("kind", "objects", "bytes", "damaged", "missing", "unknown")
    show(table(plain_string(found.uri), columns, counts, left=("kind",)))
    say(*(f"{fault.what}: {fault.name}: {fault.message}" for fault in found.faults))
    if found.leftovers:
        more = ", ..." if len(found.leftovers) > MAX_NAMES else ""
        say(
            f"{len(found.leftovers)} objects are left over from writers that died, and may be "
            f"deleted: {', '.join(found.leftovers[:MAX_NAMES])}{more}"
        )
    say(verdict(found))
    if found.faults:
        raise UnitError(f"{len(found.faults)} objects of {found.uri} are not as they should be")


COMMAND = Command(
    name="verify", config=VerifyJob, run=_verify, usage="<run>", positional=("run.uri",)
)
main = COMMAND.main


def verdict(found: Verification) -> str:
    """One line: how far the run is, and whether what exists is whole."""
    wrong = f"{len(found.faults)} faults"
    whole = wrong if found.faults else "what is there is whole"
    if found.units is None:
        return f"the run's tokens are not there yet, nor how many units it has; {whole}"
    if not found.undone:
        return f"all {found.units} units done; {wrong if found.faults else 'the run is whole'}"
    names = ", ".join(found.undone[:MAX_NAMES]) + (", ..." if len(found.undone) > MAX_NAMES else "")
    done = found.units - len(found.undone)
    return f"{done} of {found.units} units done; {whole} (to do: {names})"


if __name__ == "__main__":
    raise SystemExit(main())
