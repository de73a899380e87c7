"""The exchange's own clock: market time that stands, is moved, or runs at a set speed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import datetime, timedelta

from autotrader.domain.bars import require_utc


class ExchangeClock:
    """Market time of the stand-in exchange.

    Parameters
    ----------
    start : datetime
        Market time now, UTC.
    speed : float
        Market seconds per wall second; 0 stands still.
    """

    def __init__(self, start: datetime, *, speed: float = 0.0) -> None:
        # Replaced as a whole: it is read while another thread sets it.
        self._course = (require_utc(start, name="market time"), time.monotonic(), speed)
        self._moved = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def now(self) -> datetime:
        base, since, speed = self._course
        return base + timedelta(seconds=(time.monotonic() - since) * speed)

    @property
    def speed(self) -> float:
        return self._course[2]

    def set(self, *, now: datetime | None = None, speed: float | None = None) -> None:
        """Move to an instant, change the speed, or both, from any thread; whoever waits looks again."""
        base = require_utc(now, name="market time") if now else self.now()
        self._course = (base, time.monotonic(), self.speed if speed is None else speed)
        moved, self._moved = self._moved, asyncio.Event()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(moved.set)

    async def wait_until(self, instant: datetime) -> None:
        """Return once market time has reached the instant."""
        self._loop = asyncio.get_running_loop()
        while True:
            moved = self._moved  # taken before the look at the time, so that no move is missed
            remaining = (instant - self.now()).total_seconds()
            if remaining <= 0:
                return
            speed = self.speed
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(remaining / speed if speed > 0 else None):
                    await moved.wait()
