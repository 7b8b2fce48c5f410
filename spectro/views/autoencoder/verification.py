"""What must hold of the objects that an autoencoder leaves in a run."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spectro.formats.encodings import CELLS, ENCODING
from spectro.formats.feature_matches import stem_of
from spectro.storage.checksummed_arrays import parse_arrays
from spectro.work.stage import PartContents


def check_encoding(contents: PartContents, name: str, data: bytes) -> None:
    """Features of a shard, or cells: the digest of the header; ValueError if parts disagree."""
    last = name.rpartition("/")[2]
    if last == ENCODING:
        return
    arrays, _ = parse_arrays(data)
    if last == CELLS:
        return
    num_read, num_active = int(arrays["is_read"].sum()), int(arrays["count"].sum())
    for what, found, wanted in (
        ("rows", arrays["count"].size, num_read),
        ("cells", arrays["cell"].size, num_read),
        ("features", arrays["index"].size, num_active),
        ("activations", arrays["value"].size, num_active),
    ):
        if found != wanted:
            raise ValueError(f"it has {found} {what}, expected {wanted}")


def tables_of_matches(contents: PartContents, name: str, content: dict[str, Any]) -> dict[str, Any]:
    """The tables of a match; ValueError if its marker has another's name."""
    marker = f"{stem_of(content['inputs'])}.json"
    if not name.endswith(f"/{marker}"):
        raise ValueError(f"its inputs have the name {marker}: was it copied here?")
    folder = name.rpartition("/")[0]
    return {f"{folder}/{table}": info for table, info in content["objects"].items()}


def check_table(contents: PartContents, name: str, data: bytes) -> None:
    """A table of matches; ValueError if it is none."""
    try:
        pq.read_table(io.BytesIO(data), columns=["cluster_id", "f1"])
    except (pa.ArrowInvalid, KeyError) as error:
        raise ValueError(str(error).splitlines()[0]) from error
