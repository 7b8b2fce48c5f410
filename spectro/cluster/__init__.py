"""Clusters of tokens that the model's components respond to alike."""

from spectro.cluster.clusters import Clusters, cluster
from spectro.cluster.config import ClusterConfig, Preprocess, ToleranceKind
from spectro.cluster.describe import Description, TokenLabels, describe
from spectro.cluster.preprocess import Transform
from spectro.cluster.workers import SeedMap, ThreadMap, serial_map

__all__ = [
    "ClusterConfig",
    "Clusters",
    "Description",
    "Preprocess",
    "SeedMap",
    "ThreadMap",
    "TokenLabels",
    "ToleranceKind",
    "Transform",
    "cluster",
    "describe",
    "serial_map",
]
