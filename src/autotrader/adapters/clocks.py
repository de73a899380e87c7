"""The clocks of this machine."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from autotrader.domain.bars import require_utc


class SystemWallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class LiveMarketClock:
    """Market time is now."""

    is_replay = False

    def now(self) -> datetime:
        return datetime.now(UTC)


class StandingMarketClock:
    """Market time stands where recorded or simulated data end."""

    is_replay = True

    def __init__(self, instant: datetime) -> None:
        self._instant = require_utc(instant, name="market time")

    def now(self) -> datetime:
        return self._instant
