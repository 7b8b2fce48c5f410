"""The wheel's packages: `spectro`, and inside it jobs/, conf/, k8s/ and rates (ADR 077).

Everything else is in pyproject.toml, which cannot map a folder and discover packages at once.
"""

from setuptools import find_namespace_packages, setup

INSIDE = {
    "spectro.jobs": "jobs",
    "spectro.conf": "conf",
    "spectro.k8s": "k8s",
    "spectro.benchmarks.rates": "benchmarks/rates",  # for `spectro plan`
}

setup(
    packages=find_namespace_packages(include=["spectro", "spectro.*"]) + list(INSIDE),
    package_dir=INSIDE,
)
