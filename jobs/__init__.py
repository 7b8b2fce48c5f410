"""Hydra entry points: parse, build, run."""

from jobs.environment import prepare

prepare()
