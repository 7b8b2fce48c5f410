"""Writes a run as a dataset that others load, into a folder or a repository of the Hugging Face
hub: tokens with χ, loss, cluster and place on the map, their sequences, clusters, members, regions,
statistics of components; a card (README.md) with model, settings, reliability, cost, licences and
citation.

Text is published only of subsets whose licence is given and allows it; of the others there are
token ids alone. Only an earlier publication is replaced, which its settings.yaml names; a card that
was edited stays, unless edited_card=replace. A repository is made if there is none, private unless
private=false; its other files stay. Paths of this machine are left out of card and settings.
What was published can be read with datasets.load_dataset(<folder>, "tokens").

  spectro publish runs/demo published/demo
  spectro publish runs/demo published/demo "licences={docs: cc-by-4.0, python: mit}"
  spectro publish runs/demo hf://datasets/owner/name licence=apache-2.0 private=false
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from spectro.storage.locations import local_path
from spectro.tokens.display.terminal_text import plain_string
from spectro.views.publish.config import PublishConfig

from .command import Command
from .output import say
from .reading import StoredRun

if TYPE_CHECKING:  # loads scipy and numba
    from spectro.views.publish.folder import Published

HUB = "hf://"


@dataclass(frozen=True, kw_only=True)
class PublishJob:
    """Settings of `spectro publish`."""

    run: StoredRun = field(default_factory=StoredRun)
    """Run, a part of one, or a folder of clusters."""
    place: str = "published"
    """Folder, or hf://datasets/owner/name[@branch]."""
    publish: PublishConfig = field(default_factory=PublishConfig)
    """What is published, and under which licences."""

    def __post_init__(self) -> None:
        if not self.place.startswith(HUB):
            local_path(self.place, "place")


def _publish(job: PublishJob) -> None:
    from spectro.views.publish.folder import replaced_folder, write_dataset  # not for --help
    from spectro.views.publish.hub import Repository, found_on_hub, push
    from spectro.views.run_view import RunView

    if not job.place.startswith(HUB):
        place = Path(local_path(job.place, "place"))
        with replaced_folder(place, job.publish.edited_card) as folder:
            made = write_dataset(RunView(job.run.uri), job.publish, folder)
        say(*_lines(made), f"published: {plain_string(str(place))}")
        return
    repository = Repository.of(job.place)
    found = found_on_hub(repository, job.publish.edited_card)
    with tempfile.TemporaryDirectory(prefix="spectro-publish-") as scratch:
        made = write_dataset(RunView(job.run.uri), job.publish, Path(scratch))
        url = push(Path(scratch), repository, found, private=job.publish.private)
    say(*_lines(made), f"published: {plain_string(url)}")


COMMAND = Command(
    name="publish", config=PublishJob, run=_publish, positional=("run.uri", "place"),
    usage="<run> <folder or hf://datasets/owner/name> [licence=<id>] [key=value ...]",
    short={
        name: f"publish.{name}"
        for name in ("title", "licence", "licences", "text", "map", "edited_card", "private")
    },
)  # fmt: skip
main = COMMAND.main


def _lines(made: Published) -> list[str]:
    """Rows of the tables, size, and whose text was left out."""
    rows = ", ".join(f"{name} {number:,}" for name, number in made.num_rows.items())
    found = [f"{rows} rows, {made.size_bytes / 1e6:.1f} MB"]
    if made.ids_only:
        names = ", ".join(plain_string(name) for name in made.ids_only)
        found.append(
            f"token ids alone, for no licence was given that allows redistribution: {names}; "
            "licence=<id> or licences={subset: id} gives one"
        )
    return found


if __name__ == "__main__":
    raise SystemExit(main())
