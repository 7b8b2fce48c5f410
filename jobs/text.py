"""A text whose tokens are coloured by their susceptibility, up to three components at once as bands
under the line: green above zero (suppression), red below (expression). Values on hover or keyboard
focus.

Either a sequence of the run, or any file of text, which is measured along the run's own draws:
forward passes only, the run is not changed, and what it costs is said before it begins. That needs
the model, and draws that were kept (run.keep_draws=true) where components were sampled by chains.

  spectro text runs/demo sequence=12 components=[l1h3,l2mlp]
  spectro text runs/demo notes.txt                        the three most telling components
  spectro text runs/demo notes.txt components=['*']       all of them, row-centring too
  spectro text runs/demo/control notes.txt out=control.html
  spectro text runs/demo sequence=12 out=figure.pdf colours=orange_blue theme=dark scale=raw

The page (.html) is one local file that works offline; .svg, .pdf and .png are figures. Scales:
standardised (mean and deviation of the column over the run), centred (the same, less the mean of
all components: needs all of them), raw (nats²).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from spectro.formats.out_file import place_of, put_file
from spectro.storage.locations import is_uri, local_path, path_or_url
from spectro.tokens.display.terminal_text import plain_string
from spectro.tokens.sources.source_report import SourceReport
from spectro.tokens.sources.text_folder import read_document
from spectro.views.config import SUFFIXES, THEMES, ColourScale, suffix_of
from spectro.views.text.colours import Colours

from .command import Command
from .output import say
from .progress import progress
from .reading import StoredRun
from .stored import working_config

if TYPE_CHECKING:  # loads scipy
    from spectro.views.text.document import Document

PAGE = ".html"


@dataclass(frozen=True, kw_only=True)
class TextJob:
    """Settings of `spectro text`."""

    run: StoredRun = field(default_factory=StoredRun)
    """A measured run, or its control."""
    file: str | None = None
    """Text that is measured along the run's draws; None: a sequence of the run."""
    sequence: int | None = None
    """Id of a sequence of the run; the first one if neither it nor a file is given."""
    components: tuple[str, ...] = ()
    """Names or patterns; none: all of a sequence, of a file the three of highest reliability ×
    deviation."""
    out: str = "text.html"
    """Page (.html) or figure (.svg, .pdf, .png); a path or any URL of fsspec."""
    scale: ColourScale = ColourScale.STANDARDISED
    """What is coloured first: `standardised`, `centred`, `raw`."""
    colours: Colours = Colours.GREEN_RED
    """`green_red` (as published) or `orange_blue` (as the run's page)."""
    theme: str | None = None
    """`light` or `dark`; None: as the reader's system has it, light in a figure."""
    max_tokens: int = 8192
    """A longer file is not measured."""

    def __post_init__(self) -> None:
        path_or_url(self.out, "out")
        if self.file is not None:
            local_path(self.file, "file", recorded=False)
        if not self.out.lower().endswith((PAGE, *SUFFIXES)):
            raise ValueError(f"out must end in {PAGE} or {', '.join(SUFFIXES)}: {self.out!r}")
        if self.file is not None and self.sequence is not None:
            raise ValueError(
                f"found both the file {self.file!r} and sequence={self.sequence}: give one of them"
            )
        if self.theme not in (None, *THEMES):
            raise ValueError(f"theme must be one of {', '.join(THEMES)}; found {self.theme!r}")
        if self.max_tokens < 2:
            raise ValueError(f"max_tokens must be at least 2, found {self.max_tokens}")


def _text(job: TextJob) -> None:
    place = place_of(job.out)  # before anything is measured
    folder = Path(place).parent
    if not is_uri(place) and not folder.is_dir():
        raise ValueError(f"out={job.out}: there is no folder {folder}")
    put_file(job.out, _drawn(job, _document(job)))
    say(f"text: {plain_string(place)}")


COMMAND = Command(
    name="text", config=TextJob, run=_text, may_trust=True, positional=("run.uri", "file"),
    usage="<run> [<file> | sequence=<n>] [components=[...]] [out=...] [key=value ...]",
)  # fmt: skip
main = COMMAND.main


def _document(job: TextJob) -> Document:
    from spectro.views.run_view import RunView  # not for --help
    from spectro.views.text.from_run import document_of_sequence, document_of_text

    view = RunView(job.run.uri)
    if job.file is None:
        return document_of_sequence(view, job.sequence or 0, components=job.components)
    config = working_config(view.uri)
    name, report = plain_string(Path(job.file).name), SourceReport()
    text = read_text(job.file, report)
    if report.line:
        say(f"{name}: {plain_string(report.line)}")
    with progress("text") as update:
        return document_of_text(
            view, config, text, name, components=job.components, max_tokens=job.max_tokens,
            centred=job.scale is ColourScale.CENTRED, on_cost=say, on_progress=update,
        )  # fmt: skip


def read_text(path: str, report: SourceReport) -> str:
    """The text of a file, as the run's sources are read; the report says what was replaced.

    Raises ValueError, in one line, for a folder, a file that is empty, or one that is not text.
    """
    place = Path(local_path(path, "file", recorded=False))
    if place.is_dir():
        raise ValueError(f"{path} is a folder: give a file of text")
    text = read_document(place, report)
    if not text:
        raise ValueError(f"{path} is empty: a text needs at least two tokens")
    return text


def _drawn(job: TextJob, document: Document) -> bytes:
    from spectro.views.drawing.save import to_bytes  # matplotlib
    from spectro.views.drawing.theme import theme
    from spectro.views.text.figure import figure
    from spectro.views.text.page import render

    if job.out.lower().endswith(PAGE):
        page = render(document, scale=job.scale, colours=job.colours, theme=job.theme)
        return page.encode()
    chosen = theme(job.theme or THEMES[0])
    made = figure(document, chosen, scale=job.scale, colours=job.colours)
    return to_bytes(made, suffix_of(job.out), chosen)


if __name__ == "__main__":
    raise SystemExit(main())
