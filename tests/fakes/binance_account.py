"""The stand-in exchange as a check of credentials sees it: one key, in our own time."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Self

from autotrader.apps.exchange.faults import Fault, FaultKind
from autotrader.apps.exchange.server import StandInExchange, running
from autotrader.apps.exchange.signatures import KEY, SECRET
from tests.brokers.binance import FlatMarket

__all__ = ["KEY", "SECRET", "BinanceAccount"]


class BinanceAccount:
    """The account of one key on loopback."""

    def __init__(self) -> None:
        self._exchange = StandInExchange(FlatMarket(), market_time=datetime.now(UTC), speed=1.0)
        self._running = contextlib.ExitStack()

    @property
    def url(self) -> str:
        return self._exchange.rest_url

    def __enter__(self) -> Self:
        self._running.enter_context(running(self._exchange))
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def permit(self, permissions: dict[str, bool] | None) -> None:
        """What the key may do; None: nothing is said of it, as on a test net."""
        self._exchange.account_api.permissions = permissions

    def lead(self, ahead: timedelta) -> None:
        """Put the venue's clock so far ahead of ours."""
        self._exchange.advance(ahead)

    def fail(self) -> None:
        """Answer every request with an internal error from now on."""
        for path in ("account", "apiRestrictions"):
            self._exchange.faults.add(Fault(FaultKind.SERVER_ERROR, count=None, path=path))
