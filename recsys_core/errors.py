"""What ends a job without being a defect of the program: told to the user in one line, with its own exit status.

Other exceptions, a ValueError out of TensorFlow's depths among them, are defects: they keep their traceback.
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
