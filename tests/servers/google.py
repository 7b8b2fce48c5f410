"""fsspec's filesystem in memory under the scheme of Google's storage, whose client is not here."""

from __future__ import annotations

from collections.abc import Iterator

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem


class GoogleInMemory(MemoryFileSystem):  # type: ignore[misc]
    """Objects by `gs://bucket/key`, of this process alone."""

    protocol = ("gs",)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(str(path).removeprefix("gs://")))


@pytest.fixture
def google() -> Iterator[None]:
    """`gs://` is in memory; empty at the end."""
    fsspec.register_implementation("gs", GoogleInMemory, clobber=True)
    yield
    GoogleInMemory.store.clear()
