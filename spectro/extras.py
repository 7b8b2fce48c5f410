"""Optional dependencies: which extra of the package installs which library (pyproject.toml)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

EXTRA_OF = {
    "botocore": "s3",
    "contourpy": "views",
    "datasets": "hub",
    "duckdb": "views",
    "matplotlib": "views",
    "numba": "cluster",
    "pydeck": "views",
    "ray": "ray",
    "sklearn": "cluster",
    "threadpoolctl": "cluster",
    "umap": "views",
    "xarray": "views",
}
"""Import name of every optional library, and the extra to install for it."""


@contextmanager
def optional_imports() -> Iterator[None]:
    """Make imports of optional libraries in the block say what to install.

    Raises ModuleNotFoundError for a missing library, naming the extra that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in EXTRA_OF:
            raise
        raise ModuleNotFoundError(
            f"{library} is not installed, expected it for this: "
            f"pip install 'spectro[{EXTRA_OF[library]}]' (or 'spectro[all]')",
            name=error.name,
        ) from None
