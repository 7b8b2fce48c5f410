"""Errors of units and of invocations, and their one-line messages."""

from __future__ import annotations


class UnitError(RuntimeError):
    """A unit of work failed; the message is one line."""


class StoppedError(RuntimeError):
    """The run was stopped from outside, in order; the same command resumes it."""


class LimitReachedError(StoppedError):
    """The run reached a limit of its configuration: its deadline, its GPU-hours or its cost."""


class HandedBack(Exception):
    """The worker was asked to stop; its checkpoint is kept, the unit is resumed elsewhere."""


def one_line(error: BaseException) -> str:
    """An error's message without line breaks; its type where the message alone says little."""
    text = " ".join(str(error).split())
    if isinstance(error, ValueError | OSError | UnitError | StoppedError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def reason_of(error: Exception) -> str:
    """The first line of Ray's message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
