"""Live trades of Binance spot: each once, in order, and a word where some did not come."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence

import structlog

from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws.sockets import SILENCE_SECONDS, combined, connections
from autotrader.connectors.binance_ws.ticks import Missed, Trade, decode_trade
from autotrader.connectors.resilience import RetryPolicy
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import Venue

_log = structlog.get_logger(__name__)


class TradeStream:
    """Trades as they come, from the first that the stream brings.

    The venue numbers an instrument's trades without holes. A number that is skipped, by the venue
    or while a connection was made anew, is given as `Missed` before the trade that showed it; one
    that was given before is passed over.

    Parameters
    ----------
    settings : BinanceSettings
    retry : RetryPolicy
        For connecting; it begins again after each connection that brought a trade.
    silence_seconds : float
        After so long without a trade of any instrument the connection is made anew.
    """

    def __init__(
        self,
        settings: BinanceSettings,
        *,
        retry: RetryPolicy | None = None,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._url = settings.stream_url
        self._retry = retry or RetryPolicy()
        self._silence_seconds = silence_seconds

    async def trades(self, instruments: Sequence[str]) -> AsyncGenerator[Trade | Missed]:
        """Trades of the instruments, without end.

        Raises
        ------
        Unreachable
            When no connection could be made in as many attempts as the policy allows.
        """
        streams = [f"{instrument.lower()}@trade" for instrument in instruments]
        newest: dict[str, int] = {}
        made = connections(
            combined(self._url, streams), retry=self._retry, silence_seconds=self._silence_seconds
        )
        async with contextlib.aclosing(made):
            async for connection in made:
                async for message in connection.messages():
                    try:
                        trade = decode_trade(message)
                    except BadData as failure:  # if it was a trade, the next one's number shows it
                        _log.warning(
                            "message is passed over", venue=Venue.BINANCE.value, failure=str(failure)
                        )
                        continue
                    connection.was_useful = True
                    expected = newest.get(trade.instrument, trade.trade_id - 1) + 1
                    if trade.trade_id < expected:
                        continue
                    if trade.trade_id > expected:
                        missed = Missed(trade.instrument, expected, trade.trade_id - 1)
                        _log.warning("trades are missing", venue=Venue.BINANCE.value, missed=missed)
                        yield missed
                    newest[trade.instrument] = trade.trade_id
                    yield trade
