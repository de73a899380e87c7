"""The venue's request weights: wait before the limit rather than be told after it."""

from __future__ import annotations

import asyncio

from autotrader.domain.errors import Throttled
from autotrader.ports.clock import WallClock

SHARE_USED = 0.9  # of the limit; the rest is for other programs behind the same address
SETTLING_SECONDS = 0.5  # into a new window, for a venue whose clock is behind ours


class WeightBudget:
    """Weight that this process may still use in the venue's current window.

    Parameters
    ----------
    limit : int
        Weight that the venue allows in a window.
    wall_clock : WallClock
    window_seconds : float
        Length of the venue's window, which begins at whole multiples of it: a minute.
    patience_seconds : float
        A longer wait than this is not waited.
    """

    def __init__(
        self,
        limit: int,
        wall_clock: WallClock,
        *,
        window_seconds: float = 60.0,
        patience_seconds: float = 90.0,
    ) -> None:
        self._allowed = limit * SHARE_USED
        self._wall_clock = wall_clock
        self._window_seconds = window_seconds
        self._patience_seconds = patience_seconds
        self._window = 0
        self._used = 0
        self._rest_until = 0.0  # monotonic

    async def spend(self, weight: int) -> None:
        """Wait until a request of this weight is within the limit, and count it.

        Raises
        ------
        Throttled
            If it would be a longer wait than our patience, at once.
        """
        while (wait := max(self._resting(), self._until_window_has(weight))) > 0:
            if wait > self._patience_seconds:
                raise Throttled(
                    "expected the venue's limits to have room, "
                    f"was told to leave it alone for another {wait:.1f} s",
                    retry_after_seconds=wait,
                )
            await asyncio.sleep(wait)
        self._used += weight

    def observe(self, used: int) -> None:
        """Take over the weight that the venue has counted in its window, if it is more than ours."""
        self._used = max(self._used, used)

    def rest(self, seconds: float) -> None:
        """Let no request go for so long: the venue asked for it."""
        self._rest_until = max(self._rest_until, self._wall_clock.monotonic() + seconds)

    def _resting(self) -> float:
        return self._rest_until - self._wall_clock.monotonic()

    def _until_window_has(self, weight: int) -> float:
        now = self._wall_clock.now().timestamp()
        window = int(now / self._window_seconds)
        if window != self._window:
            self._window, self._used = window, 0
        if not self._used or self._used + weight <= self._allowed:
            return 0.0
        return (window + 1) * self._window_seconds - now + min(SETTLING_SECONDS, self._window_seconds / 4)
