"""History from a gateway: one question at a time or many at once."""

from __future__ import annotations

from datetime import UTC, datetime

from autotrader.connectors.ibkr_connector import messages
from autotrader.connectors.ibkr_connector.connection import Connection, Question
from autotrader.domain.errors import NotFound, Unreachable

VERSION_WITHOUT_DETAILS_VERSION = 164


class Session(Connection):
    """A connection that is asked for bars, contracts and the time."""

    async def historical_data(
        self,
        symbol: str,
        *,
        end: datetime,
        seconds: int,
        bar_size: str,
        use_rth: bool,
        timeout_seconds: float,
    ) -> bytes:
        """The gateway's answer to one request for traded bars, as it was on the wire.

        Parameters
        ----------
        symbol : str
        end : datetime
            Exclusive, UTC.
        seconds : int
            Counted back from `end` in trading time, at most 86,400.
        bar_size : str
            In the venue's words, such as `1 min`.
        use_rth : bool
            Regular trading hours only.
        timeout_seconds : float

        Returns
        -------
        bytes
            A historical-data message, or the error message that says that there is no data.
        """
        request: int = self._client.getReqId()
        question = Question(f"bars of {symbol} to {end:%Y-%m-%d %H:%M}", empty_is_answer=True)
        stock = self._library.Stock(symbol, "SMART", "USD")
        form = end.astimezone(UTC).strftime("%Y%m%d-%H:%M:%S")
        self._client.reqHistoricalData(
            request, stock, form, f"{seconds} S", bar_size, "TRADES", use_rth, 2, False, None
        )
        try:
            (answer,) = await self.ask(request, question, timeout_seconds)
        except Unreachable:
            if self.is_open:
                self._client.cancelHistoricalData(request)
            raise
        return messages.join_fields(answer)

    async def contracts(self, symbol: str, *, timeout_seconds: float) -> int:
        """How many contracts the venue has under this symbol, SMART routed, in USD."""
        request: int = self._client.getReqId()
        self._client.reqContractDetails(request, self._library.Stock(symbol, "SMART", "USD"))
        try:
            return len(await self.ask(request, Question(f"contract {symbol}"), timeout_seconds))
        except NotFound:
            return 0

    async def current_time(self, *, timeout_seconds: float) -> datetime:
        """The gateway's clock, to the second."""
        self._client.reqCurrentTime()
        (answer,) = await self.ask(messages.CURRENT_TIME, Question("the time"), timeout_seconds)
        return datetime.fromtimestamp(int(answer[2]), UTC)

    def _hear(self, fields: list[str]) -> None:
        match fields[0]:
            case messages.HISTORICAL_DATA:
                self._collect(int(fields[1]), fields, last=True)
            case messages.CONTRACT_DETAILS:
                versioned = self._client.serverVersion() < VERSION_WITHOUT_DETAILS_VERSION
                self._collect(int(fields[2 if versioned else 1]), fields, last=False)
            case messages.CONTRACT_DETAILS_END:
                self._collect(int(fields[2]), None, last=True)
            case messages.CURRENT_TIME:
                self._collect(messages.CURRENT_TIME, fields, last=True)
