"""The control of a run: a measurement at nβ = 0 beside it."""

from __future__ import annotations

from enum import StrEnum

from spectro.sampling.reweighted import Reweighted, Sampler, nbeta_name


class Control(StrEnum):
    """Where χ at nβ = 0 is from; `true` and `false` are understood as `default` and `none`."""

    SHARED = "shared"
    """The run's own draws with equal weights: no forward pass."""
    INDEPENDENT = "independent"
    """Separate draws, with separate keys."""
    NONE = "none"
    """There is none."""
    DEFAULT = "default"
    """`shared` where the sampler is `reweighted` (at nβ > 0), else `independent`."""

    @classmethod
    def _missing_(cls, value: object) -> Control | None:
        return {"true": cls.DEFAULT, "false": cls.NONE}.get(str(value).lower())


def known_control(given: Control, sampler: Sampler) -> Control:
    """The control that is meant; never `default`.

    Raises ValueError for one that there cannot be.
    """
    given = Control(given)  # may be plain, as `true`
    can_share = isinstance(sampler, Reweighted) and sampler.nbeta > 0
    if given is Control.DEFAULT:
        return Control.SHARED if can_share else Control.INDEPENDENT
    if given is Control.SHARED and not can_share:
        raise ValueError(
            "control=shared weights the draws of sampler=reweighted at an nbeta above 0, found "
            f"{type(sampler).__name__.lower()} at nbeta {nbeta_name(sampler.nbeta)}: give "
            "control=independent or control=none"
        )
    if isinstance(sampler, Reweighted) and 0 in sampler.also_nbeta and given is not Control.SHARED:
        raise ValueError(
            f"sampler.nbeta has 0, which is the shared control, found control={given.value}: "
            "leave 0 out, or give control=shared"
        )
    return given
