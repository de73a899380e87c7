"""Errors, grouped by what the caller must do about them.

    AutotraderError
    ├── ConfigurationError      a person must change a setting          exit 2
    ├── BadData                 quarantine it, go on with the rest      exit 1
    ├── NotFound                the thing asked for does not exist      exit 1
    ├── Refused                 a safety rule said no                   exit 4
    └── DependencyError
        ├── Unreachable         try again later                         exit 3
        │   └── Throttled       try again after `retry_after_seconds`   exit 3
        └── Rejected            the other side said no: do not retry    exit 1

An expected outcome (a gate that failed, a canary that is inconclusive) is a verdict
(`autotrader.domain.verdicts`), not an error. Messages read "expected X, was Y: do Z".
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command tells the shell."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4


class AutotraderError(Exception):
    """Base of all errors that this package raises on purpose."""

    exit_code = ExitCode.FAILED


class ConfigurationError(AutotraderError):
    """A setting or an argument is missing or wrong; a person must change it."""

    exit_code = ExitCode.USAGE


class BadData(AutotraderError):
    """Data does not have the promised form; it belongs in quarantine."""


class NotFound(AutotraderError):
    """The thing asked for does not exist."""


class Refused(AutotraderError):
    """A safety rule forbids the action."""

    exit_code = ExitCode.REFUSED


class DependencyError(AutotraderError):
    """Something outside this process did not do its part."""


class Unreachable(DependencyError):
    """The other side did not answer, or answered that it cannot now; retry later."""

    exit_code = ExitCode.UNREACHABLE


class Throttled(Unreachable):
    """The other side asks for patience.

    Parameters
    ----------
    message : str
        What was asked and what came back.
    retry_after_seconds : float
        How long the other side asked to be left alone.
    """

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Rejected(DependencyError):
    """The other side understood and said no; the same request will fail again."""
