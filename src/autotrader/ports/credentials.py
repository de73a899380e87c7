"""Credentials and the services that they open: is each missing, wrong or fine?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable


class CredentialState(StrEnum):
    """What a check found, from fine to worst."""

    FINE = "fine"
    UNUSED = "unused"  # not set, and nothing in these settings needs it
    UNREACHABLE = "unreachable"  # the service did not answer: nothing is known
    MISSING = "missing"  # not set, and needed
    WRONG = "wrong"  # the service refused it
    FORBIDDEN = "forbidden"  # it works, and may do more than a safety rule allows


@dataclass(frozen=True, slots=True)
class CredentialReport:
    """What is known of one credential.

    Attributes
    ----------
    name : str
        Of the service: `binance`, `database`.
    state : CredentialState
    reason : str
        One sentence for a person; never the credential or a part of it.
    """

    name: str
    state: CredentialState
    reason: str


@runtime_checkable
class CredentialCheck(Protocol):
    """Asks one service whether it accepts the credential that is configured for it."""

    name: str

    async def verify(self) -> CredentialReport:
        """Ask once; an absent or refusing service is a report, not an error."""
        ...


class CredentialChecks(Protocol):
    """The checks of every service that the settings can name."""

    def __call__(self) -> Sequence[CredentialCheck]: ...
