"""Requests in a sliding window of time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class SlidingWindow:
    """Counts requests, so that no `seconds` long stretch of time holds more than `requests`.

    Parameters
    ----------
    requests : int
    seconds : float
    """

    requests: int
    seconds: float
    _times: deque[float] = field(default_factory=deque)

    def wait_seconds(self, now: float) -> float:
        """How long from `now` (monotonic seconds) until one more fits; 0 if it does already."""
        while self._times and self._times[0] + self.seconds <= now:
            self._times.popleft()
        return 0.0 if len(self._times) < self.requests else self._times[0] + self.seconds - now

    def count(self, now: float) -> None:
        """Count a request sent at `now`."""
        self._times.append(now)

    @property
    def is_empty(self) -> bool:
        return not self._times
