"""Holds: key ranges of bars that were taken back and that ingestion must not bring back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from autotrader.domain.instruments import InstrumentId


@dataclass(frozen=True, slots=True)
class Hold:
    """Bars of an instrument (all of a strategy's, if None) with open in [start, end) are held back.

    Attributes
    ----------
    id : str
        Stable: the same rollback asked for twice is one hold.
    placed_at, released_at : datetime
        Wall time, UTC; `released_at` is None while in force.
    """

    id: str
    instrument: InstrumentId | None
    start: datetime
    end: datetime
    reason: str
    actor: str
    placed_at: datetime
    released_at: datetime | None = None


@runtime_checkable
class Holds(Protocol):
    def place(self, hold: Hold) -> bool:
        """Put in force; False if it was already."""
        ...

    def release(self, hold_id: str, *, actor: str, at: datetime) -> bool:
        """End; False if it had ended already.

        Raises
        ------
        NotFound
            If there is no such hold.
        """
        ...

    def in_force(self) -> Sequence[Hold]: ...

    def all(self) -> Sequence[Hold]: ...
