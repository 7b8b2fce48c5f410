"""A result as an xarray dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spectro.extras import optional_imports
from spectro.susceptibility.interval import interval_words

if TYPE_CHECKING:
    import xarray

    from spectro.result.result import Result

OF_COMPONENTS = (
    "reliability", "centred_reliability", "mean_phi", "llc", "llc_error", "rhat",
)  # fmt: skip
"""Statistics of the columns of χ, attributes of `Result`."""
TOKEN = ("sequence", "position")


def to_xarray(result: Result) -> xarray.Dataset:
    """χ and what else is known by sequence, position and component; units are attributes.

    `token` is y; labels are coordinates of the tokens; columns that were not measured are left out.
    """
    with optional_imports():
        import xarray

    columns = {
        column.name: (
            (*TOKEN, "component") if column.by_component else TOKEN,
            result.columns[column.name],
            {"units": column.unit, "long_name": column.description},
        )
        for column in result.token_columns
        if column.name in result.columns
    }
    if "standard_error" in columns:
        interval = {"interval": interval_words(result.num_chains)}
        columns["half_width"] = ((*TOKEN, "component"), result.half_width, interval)
    known = {} if result.num_chains is None else {"num_chains": result.num_chains}
    return xarray.Dataset(
        columns
        | {"token": (TOKEN, result.probe_ids[:, 1:])}
        | {name: ("component", getattr(result, name)) for name in OF_COMPONENTS},
        coords={
            "component": list(result.components),
            **{name: (TOKEN, values) for name, values in result.labels.items()},
        },
        attrs=known,
    )
