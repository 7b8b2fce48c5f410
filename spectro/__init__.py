"""Susceptibilities of language models: how each component responds to each token in context."""

from spectro.api import susceptibilities
from spectro.models.scoring import ScoringConfig
from spectro.result import Result
from spectro.sampling.config import ChainConfig
from spectro.sampling.mala import Mala
from spectro.sampling.recorder import NonFiniteLossError
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Exponential, Gaussian, Psgld, Sgld
from spectro.susceptibility.estimator import Baseline, EstimatorConfig, EstimatorKind

__all__ = [
    "Baseline",
    "ChainConfig",
    "EstimatorConfig",
    "EstimatorKind",
    "Exponential",
    "Gaussian",
    "Mala",
    "NonFiniteLossError",
    "Psgld",
    "Result",
    "Reweighted",
    "ScoringConfig",
    "Sgld",
    "susceptibilities",
]
