"""Request weights, counted as the venue does: per minute of wall time, with a ban for who goes on."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Refusal:
    """The limit was broken: the HTTP status, and for how long to stay away."""

    status: int
    retry_after_seconds: int


@dataclass
class WeightMeter:
    """Weight used in the current window, for one caller: all of loopback is one address.

    Parameters
    ----------
    limit : int
        Weight allowed in a window.
    window_seconds : float
        Windows begin at whole multiples of it since 1970.
    violations_before_ban : int
        Requests answered with 429 in one window before the address is banned.
    ban_seconds : int
        Binance's shortest ban is 120.
    """

    limit: int = 6000
    window_seconds: float = 60.0
    violations_before_ban: int = 20
    ban_seconds: int = 120
    used: int = 0
    highest: int = 0
    refused: int = 0
    _window: int = -1
    _violations: int = 0
    _banned_until: float = field(default=0.0)

    def charge(self, weight: int) -> Refusal | None:
        """Count a request; None if it is within the limit."""
        now = time.time()
        if now < self._banned_until:
            self.refused += 1
            return Refusal(418, math.ceil(self._banned_until - now))
        window = int(now / self.window_seconds)
        if window != self._window:
            self._window, self.used, self._violations = window, 0, 0
        self.used += weight
        self.highest = max(self.highest, self.used)
        if self.used <= self.limit:
            return None
        self.refused += 1
        self._violations += 1
        if self._violations > self.violations_before_ban:
            self._banned_until = now + self.ban_seconds
            return Refusal(418, self.ban_seconds)
        return Refusal(429, max(1, math.ceil((window + 1) * self.window_seconds - now)))
