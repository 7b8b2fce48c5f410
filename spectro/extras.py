"""Optional dependencies: which extra of the package installs which library (pyproject.toml)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

EXTRA_OF = {
    "PIL": "tensorboard",
    "alembic": "mlflow",
    "anndata": "anndata",
    "botocore": "s3",
    "contourpy": "views",
    "datasets": "hub",
    "duckdb": "views",
    "gguf": "gguf",
    "huggingface_hub": "hub",
    "matplotlib": "views",
    "mlflow": "mlflow",
    "numba": "cluster",
    "pandas": "anndata",
    "pydeck": "views",
    "ray": "ray",
    "s3fs": "s3",
    "sklearn": "cluster",
    "sqlalchemy": "mlflow",
    "tensorboard": "tensorboard",
    "threadpoolctl": "cluster",
    "umap": "views",
    "wandb": "wandb",
    "xarray": "views",
}
"""Import name of every optional library, and the extra to install for it."""


def missing_extra(error: BaseException) -> str | None:
    """What to install, in one line, if the error is the import of an optional library."""
    library = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or library not in EXTRA_OF:
        return None
    return (
        f"{library} is not installed, expected it for this: "
        f"pip install 'spectro[{EXTRA_OF[library]}]'"
    )


@contextmanager
def optional_imports() -> Iterator[None]:
    """Raise ModuleNotFoundError with what to install for imports of optional libraries inside."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (message := missing_extra(error)) is None:
            raise
        raise ModuleNotFoundError(message, name=error.name) from None
