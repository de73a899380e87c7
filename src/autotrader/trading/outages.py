"""What the trader needs and does not have, and since when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import structlog

from autotrader.domain.trading import Cause
from autotrader.ports.clock import WallClock

log = structlog.get_logger(__name__)


class Outages:
    """Parts that are away, by a clock that does not jump."""

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock
        self._since: dict[Cause, float] = {}
        self._answering: dict[Cause, float] = {}

    def note(self, cause: Cause, reason: str, *, since: float | None = None) -> None:
        """A part was asked for and was away; the first time counts, or `since` (monotonic seconds)."""
        self._answering.pop(cause, None)
        if cause not in self._since:
            self._since[cause] = self._clock.monotonic() if since is None else since
            log.warning("away", part=cause.value, reason=reason)

    def answers(self, cause: Cause) -> None:
        """A part answers again; it is away until `mend` says that what happened meanwhile is known."""
        if cause in self._since:
            self._answering.setdefault(cause, self._clock.monotonic())

    @property
    def answering(self) -> Mapping[Cause, float]:
        """Parts that answer again and are not mended yet, with since when (monotonic seconds)."""
        return dict(self._answering)

    def mend(self, cause: Cause) -> None:
        """A part did what it is for."""
        self._answering.pop(cause, None)
        if self._since.pop(cause, None) is not None:
            log.info("well again", part=cause.value)

    def ages(self) -> Mapping[Cause, timedelta]:
        """How long each part that is away has been."""
        now = self._clock.monotonic()
        return {cause: timedelta(seconds=now - since) for cause, since in self._since.items()}
