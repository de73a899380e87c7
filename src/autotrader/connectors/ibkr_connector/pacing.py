"""How often the venue lets history be asked for.

The rules are those of https://interactivebrokers.github.io/tws-api/historical_limitations.html. For
bars of a minute and more the venue has softened them and slows answers down instead, but still
sends violations; keeping them costs little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

import structlog

from autotrader.connectors.rate import SlidingWindow
from autotrader.ports.clock import WallClock

log = structlog.get_logger(__name__)

# Below this a wait is ordinary flow control, above it a person would like to know.
_WORTH_SAYING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Rule:
    """At most `requests` of one kind within `seconds`."""

    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Pacing:
    """Rules for all requests, for those of one contract, and for identical ones."""

    all: Rule
    same_contract: Rule
    identical: Rule


PACING = Pacing(all=Rule(60, 600.0), same_contract=Rule(5, 2.0), identical=Rule(1, 15.0))


@dataclass(slots=True)
class Pacer:
    """Hands out turns to ask, so that no rule is broken.

    Parameters
    ----------
    wall_clock : WallClock
    pacing : Pacing
    sleep : callable
        Waits the given number of seconds.
    """

    wall_clock: WallClock
    pacing: Pacing = PACING
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _windows: dict[Hashable, SlidingWindow] = field(default_factory=dict)
    _queue: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def turn(self, contract: str, request: Hashable) -> None:
        """Wait until the request may be sent, and count it as sent.

        Parameters
        ----------
        contract : str
        request : Hashable
            Equal for requests that the venue would call identical.
        """
        async with self._queue:
            self._forget(self.wall_clock.monotonic())
            windows = (
                self._window("all", self.pacing.all),
                self._window(("contract", contract), self.pacing.same_contract),
                self._window(("request", request), self.pacing.identical),
            )
            while (wait := max(w.wait_seconds(self.wall_clock.monotonic()) for w in windows)) > 0:
                if wait > _WORTH_SAYING_SECONDS:
                    log.info("pacing", venue="ibkr", contract=contract, wait_seconds=round(wait, 1))
                await self.sleep(wait)
            for window in windows:
                window.count(self.wall_clock.monotonic())

    def _window(self, key: Hashable, rule: Rule) -> SlidingWindow:
        return self._windows.setdefault(key, SlidingWindow(rule.requests, rule.seconds))

    def _forget(self, now: float) -> None:
        for key, window in list(self._windows.items()):
            window.wait_seconds(now)
            if window.is_empty:
                del self._windows[key]
