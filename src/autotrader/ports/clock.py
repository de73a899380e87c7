"""Two clocks: market time, which may stand or replay, and wall time, which never does."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, runtime_checkable


@runtime_checkable
class MarketClock(Protocol):
    """Time of the data: windows, labels, freshness, reports."""

    def now(self) -> datetime:
        """Current market time, UTC."""
        ...

    @property
    def is_replay(self) -> bool:
        """True where market time stands at, or moves through, recorded or simulated data."""
        ...


@runtime_checkable
class WallClock(Protocol):
    """Time of the world: leases, heartbeats, time-outs, audit."""

    def now(self) -> datetime:
        """Current time, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...
