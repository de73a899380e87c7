"""When orders were decided, for the limits on their number."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from autotrader.ports.trading import TradingRecords

_A_DAY = timedelta(days=1)


class OrderTimes:
    """Of one account: read once, kept up to date from then on.

    Parameters
    ----------
    records : TradingRecords
    account : str
    """

    def __init__(self, records: TradingRecords, account: str) -> None:
        self._records = records
        self._account = account
        self._known: list[datetime] | None = None

    def of_a_day(self, now: datetime) -> Sequence[datetime]:
        """Times of the day up to `now` (market time), ascending; raises Unreachable at the first reading."""
        if self._known is None:
            self._known = list(self._records.order_times(self._account, now - _A_DAY))
        while self._known and self._known[0] <= now - _A_DAY:
            self._known.pop(0)
        return tuple(self._known)

    def add(self, at: datetime) -> None:
        """An order was decided that is not stored yet."""
        if self._known is not None:
            self._known.append(at)
