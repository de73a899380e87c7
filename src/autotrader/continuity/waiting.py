"""Waiting for what AWS does: with an end, and with a word now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from autotrader.domain.errors import Unreachable
from autotrader.ports.clock import WallClock

T = TypeVar("T")

_BEAT_SECONDS = 60.0


def wait_for(
    what: str,
    ready: Callable[[], T],
    *,
    clock: WallClock,
    beat: Callable[[str], None],
    seconds: float,
    poll_seconds: float,
) -> T:
    """The first answer that is true.

    Parameters
    ----------
    what : str
        For messages.
    beat : Callable
        Told once a minute what is waited for.
    seconds, poll_seconds : float
        In all, and between two looks.

    Raises
    ------
    Unreachable
        If there is none in time.
    """
    deadline = clock.monotonic() + seconds
    told_at = clock.monotonic()
    while not (answer := ready()):
        now = clock.monotonic()
        if now > deadline:
            raise Unreachable(f"expected {what} within {seconds:.0f} s, was not ready: run again")
        if now - told_at >= _BEAT_SECONDS:
            beat(what)
            told_at = now
        time.sleep(poll_seconds)
    return answer
