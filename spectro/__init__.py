"""Susceptibilities of language models: how each component responds to each token in context."""

from spectro.api import Result, susceptibilities
from spectro.sampling.chain import ChainConfig, NonFiniteLossError
from spectro.sampling.samplers import Exponential, Gaussian, Psgld, Sgld
from spectro.susceptibility.estimator import Baseline, EstimatorConfig, EstimatorKind

__all__ = [
    "Baseline",
    "ChainConfig",
    "EstimatorConfig",
    "EstimatorKind",
    "Exponential",
    "Gaussian",
    "NonFiniteLossError",
    "Psgld",
    "Result",
    "Sgld",
    "susceptibilities",
]
