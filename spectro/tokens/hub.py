"""Hugging Face datasets, streamed: the only source that uses the network."""

from collections.abc import Iterator
from typing import Any

from spectro.tokens.config import Source
from spectro.tokens.jsonl import field_text


def read_hub(source: Source) -> Iterator[str]:
    """Documents of a dataset in its own order.

    Raises ValueError when the dataset, its configuration, split or field cannot be had; the
    message says what was asked for and the first line of the reason.
    """
    import datasets

    where = f"hub dataset {source.name!r} (config {source.hub_config}, split {source.hub_split})"
    try:
        rows: Any = datasets.load_dataset(
            source.name,
            source.hub_config,
            split=source.hub_split,
            revision=source.hub_revision,
            streaming=True,
        )
        for row in rows:
            yield field_text(row, source.field, where)
    except (OSError, datasets.exceptions.DatasetsError, RuntimeError) as error:
        raise ValueError(_failure(where, error)) from error
    except ValueError as error:
        if str(error).startswith(where):
            raise
        raise ValueError(_failure(where, error)) from error


def _failure(where: str, error: Exception) -> str:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return f"{where} cannot be read: {reason} (is the name right, is the network allowed?)"
