"""`spectro text <run> sequence=<n>` or `spectro text <run> <file>`: a text coloured by χ."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from jobs.launch import launch
from jobs.look import StoredRun
from jobs.stored import stored_config
from spectro.formats.out_file import place_of, put_file
from spectro.storage.locations import local_path
from spectro.tokens.display.terminal_text import plain_string
from spectro.tokens.sources.source_report import SourceReport
from spectro.tokens.sources.text_folder import read_document
from spectro.views.drawing.save import SUFFIXES, suffix_of, to_bytes
from spectro.views.drawing.theme import THEMES
from spectro.views.drawing.theme import theme as named_theme
from spectro.views.run_view import RunView
from spectro.views.text.colours import Colours
from spectro.views.text.document import Document
from spectro.views.text.figure import figure
from spectro.views.text.from_run import document_of_sequence, document_of_text
from spectro.views.text.page import render
from spectro.views.text.scales import ColourScale
from spectro.work.progress import Progress

PAGE = ".html"


@dataclass(frozen=True, kw_only=True)
class TextJob:
    """Which text, and how it is shown."""

    run: StoredRun
    """A measured run, or its control."""
    file: str | None = None
    """Text that is measured along the run's draws; None: a sequence of the run."""
    sequence: int | None = None
    """Id of a sequence of the run; the first one if neither it nor a file is given."""
    components: tuple[str, ...] = ()
    """Names or patterns; none: all of a sequence, of a file the three of highest reliability ×
    deviation."""
    out: str = "text.html"
    """Page (.html) or figure (.svg, .pdf, .png); a local file."""
    scale: ColourScale = ColourScale.STANDARDISED
    """What is coloured first: `standardised`, `centred`, `raw`."""
    colours: Colours = Colours.GREEN_RED
    """`green_red` (as published) or `orange_blue` (as the run's page)."""
    theme: str | None = None
    """`light` or `dark`; None: as the reader's system has it, light in a figure."""
    max_tokens: int = 8192
    """A longer file is not measured."""

    def __post_init__(self) -> None:
        local_path(self.out, "out")
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


def main() -> int:
    """Compose, measure, write; returns the exit status."""
    return launch("text", "text_job", TextJob, _text)


def _text(job: TextJob) -> None:
    path = Path(local_path(job.out, "out"))
    if not path.parent.is_dir():
        raise ValueError(f"out={job.out}: there is no folder {path.parent}")
    place_of(job.out)  # before anything is measured
    console = Console(soft_wrap=True)
    put_file(job.out, _drawn(job, _document(job, console)))
    console.print(f"text: {plain_string(str(path.resolve()))}", highlight=False, markup=False)


def _document(job: TextJob, console: Console) -> Document:
    view = RunView(job.run.uri)
    if job.file is None:
        return document_of_sequence(view, job.sequence or 0, components=job.components)
    config = stored_config(view.uri)
    name, report = plain_string(Path(job.file).name), SourceReport()
    text = read_text(job.file, report)
    if report.line:
        console.print(f"{name}: {plain_string(report.line)}", highlight=False, markup=False)
    with Progress(console) as progress:
        progress.add("text", 1.0)
        return document_of_text(
            view, config, text, name, components=job.components, max_tokens=job.max_tokens,
            centred=job.scale is ColourScale.CENTRED,
            on_cost=lambda line: console.print(line, highlight=False, markup=False),
            on_progress=lambda done, of: progress.update("text", done / of),
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
    if job.out.lower().endswith(PAGE):
        page = render(document, scale=job.scale, colours=job.colours, theme=job.theme)
        return page.encode()
    theme = named_theme(job.theme or THEMES[0])
    made = figure(document, theme, scale=job.scale, colours=job.colours)
    return to_bytes(made, suffix_of(job.out), theme)


if __name__ == "__main__":
    sys.exit(main())
