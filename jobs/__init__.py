"""The command line: a file for each command of `spectro`, and what they share."""

from spectro.work.environment import prepare

prepare()
