"""Runs the health checks in the background, and keeps what they found.

Whoever asks is answered from memory at once. A check that hangs is reported and left behind: its
thread cannot be ended, so no other one is begun for it before it comes back.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime

import structlog

from autotrader.apps.api.status import Check, ComponentStatus, Finding, unhealthy, unknown
from autotrader.domain.errors import AutotraderError
from autotrader.domain.thresholds import API
from autotrader.ports.clock import WallClock

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """What one look at a component found.

    Attributes
    ----------
    latency_ms : float or None
        How long the check took; None where it did not end, or has not been made.
    checked_at : datetime or None
        Wall time.
    """

    finding: Finding
    latency_ms: float | None = None
    checked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    """A check under way, in a thread of its own."""

    begun: float
    future: Future[tuple[Finding, float]]


class HealthBoard:
    """The newest result of each check.

    Parameters
    ----------
    checks : Sequence of Check
    clock : WallClock
    tell : Callable
        Told name and status after each look.
    timeout_seconds, interval_seconds : float
        Patience with one check; pause between rounds.
    """

    def __init__(
        self,
        checks: Sequence[Check],
        clock: WallClock,
        tell: Callable[[str, ComponentStatus], None],
        *,
        timeout_seconds: float = API.check_timeout_seconds,
        interval_seconds: float = API.check_interval_seconds,
    ) -> None:
        self.checks = {check.name: check for check in checks}
        self._clock = clock
        self._tell = tell
        self._timeout = timeout_seconds
        self._interval = interval_seconds
        # Results that are older were left by a background task that does not run as it should.
        self._patience = 2 * interval_seconds + timeout_seconds
        self._results: dict[str, tuple[Result, float]] = {}
        self._under_way: dict[str, _Look] = {}

    async def keep(self) -> None:
        """Look at everything, again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._interval)

    async def look(self) -> None:
        """Look at everything once, side by side."""
        await asyncio.gather(*map(self._look, self.checks.values()))

    def results(self) -> Mapping[str, Result]:
        """The newest of each, in order; one that is too old says so and is UNKNOWN."""
        return {name: self._result(name) for name in self.checks}

    def overall(self) -> ComponentStatus:
        """UNHEALTHY if an essential one is; else DEGRADED if one is not well; HEALTHY if all known are.

        UNKNOWN where nothing is known yet. What does not run, and so is UNKNOWN, does not count.
        """
        found = {name: result.finding.status for name, result in self.results().items()}
        ill = {name for name, status in found.items() if status is ComponentStatus.UNHEALTHY}
        if any(self.checks[name].is_essential for name in ill):
            return ComponentStatus.UNHEALTHY
        if ill or ComponentStatus.DEGRADED in found.values():
            return ComponentStatus.DEGRADED
        known = ComponentStatus.HEALTHY in found.values()
        return ComponentStatus.HEALTHY if known else ComponentStatus.UNKNOWN

    def _result(self, name: str) -> Result:
        if name not in self._results:
            return Result(unknown("not looked at yet"))
        result, at = self._results[name]
        age = self._clock.monotonic() - at
        if age > self._patience:
            finding = unknown(f"not looked at for {age:.0f} s; before: {result.finding.reason}")
            return Result(finding, result.latency_ms, result.checked_at)
        return result

    async def _look(self, check: Check) -> None:
        look = self._under_way.get(check.name) or self._begin(check)
        try:
            finding, seconds = await asyncio.wait_for(
                asyncio.shield(asyncio.wrap_future(look.future)), self._timeout
            )
            result = Result(finding, round(seconds * 1000, 3), self._clock.now())
        except TimeoutError:
            waited = self._clock.monotonic() - look.begun
            expected = f"expected an answer within {self._timeout:g} s, was none for {waited:.0f} s"
            result = Result(unhealthy(expected), None, self._clock.now())
        else:
            del self._under_way[check.name]
        self._results[check.name] = (result, self._clock.monotonic())
        self._tell(check.name, result.finding.status)

    def _begin(self, check: Check) -> _Look:
        look = self._under_way[check.name] = _Look(self._clock.monotonic(), Future())
        # A daemon: one that hangs must not keep the process from ending.
        thread = threading.Thread(
            target=self._run, args=(check, look.future), name=f"check-{check.name}", daemon=True
        )
        thread.start()
        return look

    def _run(self, check: Check, future: Future[tuple[Finding, float]]) -> None:
        begun = self._clock.monotonic()
        try:
            finding = check.look()
        except AutotraderError as error:
            finding = unhealthy(str(error))
        except Exception as error:  # noqa: BLE001 - a check that breaks is a finding, and ends no other
            _log.error("a health check broke", check=check.name, exc_info=error)
            finding = unhealthy(f"the check itself failed: {type(error).__name__}")
        future.set_result((finding, self._clock.monotonic() - begun))
