"""Holds in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from autotrader.domain.errors import NotFound
from autotrader.ports.holds import Hold


class InMemoryHolds:
    def __init__(self, *holds: Hold) -> None:
        self._holds = {hold.id: hold for hold in holds}

    def place(self, hold: Hold) -> bool:
        known = self._holds.get(hold.id)
        if known is not None and known.released_at is None:
            return False
        self._holds[hold.id] = replace(hold, released_at=None)
        return True

    def release(self, hold_id: str, *, actor: str, at: datetime) -> bool:
        if hold_id not in self._holds:
            raise NotFound(f"expected a hold, was {hold_id!r}: there is none of that id")
        if self._holds[hold_id].released_at is not None:
            return False
        self._holds[hold_id] = replace(self._holds[hold_id], released_at=at)
        return True

    def in_force(self) -> Sequence[Hold]:
        return [hold for hold in self.all() if hold.released_at is None]

    def all(self) -> Sequence[Hold]:
        return sorted(self._holds.values(), key=lambda hold: (hold.placed_at, hold.id))
