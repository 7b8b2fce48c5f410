"""Susceptibilities of language models: how each component responds to each token in context.

The names below are the public API; each is imported when it is first used, so that commands that
only read a run do not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from spectro.extras import optional_imports

if TYPE_CHECKING:
    from spectro.api import susceptibilities as susceptibilities
    from spectro.models.config import ScoringConfig as ScoringConfig
    from spectro.result.result import Result as Result
    from spectro.sampling.config import ChainConfig as ChainConfig
    from spectro.sampling.config import ObservableConfig as ObservableConfig
    from spectro.sampling.mala import Mala as Mala
    from spectro.sampling.recorder import NonFiniteLossError as NonFiniteLossError
    from spectro.sampling.reweighted import Reweighted as Reweighted
    from spectro.sampling.samplers import Exponential as Exponential
    from spectro.sampling.samplers import Gaussian as Gaussian
    from spectro.sampling.samplers import Psgld as Psgld
    from spectro.sampling.samplers import Sgld as Sgld
    from spectro.susceptibility.estimator import Baseline as Baseline
    from spectro.susceptibility.estimator import EstimatorConfig as EstimatorConfig
    from spectro.susceptibility.estimator import EstimatorKind as EstimatorKind
    from spectro.views.figures.figures import figure as figure
    from spectro.views.run_view import RunView as RunView

_PUBLIC = {
    "Baseline": "susceptibility.estimator",
    "ChainConfig": "sampling.config",
    "EstimatorConfig": "susceptibility.estimator",
    "EstimatorKind": "susceptibility.estimator",
    "Exponential": "sampling.samplers",
    "Gaussian": "sampling.samplers",
    "Mala": "sampling.mala",
    "NonFiniteLossError": "sampling.recorder",
    "ObservableConfig": "sampling.config",
    "Psgld": "sampling.samplers",
    "Result": "result.result",
    "Reweighted": "sampling.reweighted",
    "RunView": "views.run_view",
    "ScoringConfig": "models.config",
    "Sgld": "sampling.samplers",
    "figure": "views.figures.figures",
    "susceptibilities": "api",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> object:
    """The public name, imported on first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'spectro' has no attribute {name!r}")
    with optional_imports():
        value = getattr(import_module(f"spectro.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value
