"""Hugging Face datasets, streamed: the only source that uses the network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spectro.extras import optional_imports
from spectro.tokens.config import Source
from spectro.tokens.sources.fields import value_at
from spectro.tokens.sources.source_report import SourceReport
from spectro.tokens.sources.text_bytes import FileText


def read_hub(source: Source, report: SourceReport | None = None) -> Iterator[str]:
    """Documents of a dataset in its own order; nulls are skipped and counted.

    Raises ValueError, with the first line of the reason, if the dataset, its configuration, split
    or field is not available.
    """
    with optional_imports():
        import datasets

    if source.hub_revision is not None and is_local(source):
        raise ValueError(
            f"hub_revision is {source.hub_revision!r}, but {source.name!r} is a local folder, "
            "which has no revisions to choose from: leave it out"
        )
    where = f"hub dataset {source.name!r} (config {source.hub_config}, split {source.hub_split})"
    text = FileText(where, SourceReport() if report is None else report)
    try:
        rows: Any = datasets.load_dataset(
            source.name,
            source.hub_config,
            split=source.hub_split,
            revision=source.hub_revision,
            streaming=True,
        )
        for number, row in enumerate(rows, start=1):
            place = f"row {number}"
            value = value_at(row, source.field, f"{where}, {place}")
            document = text.of_value(value, source.field, place)
            if document is not None:
                yield document
    except (OSError, datasets.exceptions.DatasetsError, RuntimeError) as error:
        raise ValueError(_failure(where, error)) from error
    except ValueError as error:
        if str(error).startswith(where):
            raise
        raise ValueError(_failure(where, error)) from error


def is_local(source: Source) -> bool:
    """Whether the name is a local folder, which `datasets` prefers to the hub."""
    return Path(str(source.name)).is_dir()


def _failure(where: str, error: Exception) -> str:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return f"{where} cannot be read: {reason} (is the name right, is the network allowed?)"
