"""Errors that are not defects of the program: reported in one line, each with its exit status.

Other exceptions are defects and keep their traceback, a ValueError of TensorFlow included.
"""

from __future__ import annotations


class UserError(ValueError):
    """Something the user gave, or their disk, is wrong; it may have been found on one rank only."""

    exit_status = 2


class SharedExit(Exception):
    """Something that every rank raises at the same place, so that all can part in good order."""

    exit_status = 1


class SharedError(UserError, SharedExit):
    """A user's error that every rank raises."""

    exit_status = 2


class NonFiniteError(SharedExit):
    """A loss or a gradient is infinite or not a number; says where."""

    exit_status = 4


def os_message(error: OSError) -> str:
    """One line for an error of the operating system: the file and the reason."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason
