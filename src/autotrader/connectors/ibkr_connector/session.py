"""One connection to TWS or Gateway: requests go out by the client library, raw answers come back.

The library's client does the handshake, framing and rate limit, and writes requests. Its decoder is
replaced by `_Inbox`: it would turn the venue's fields into floats, of which the archive wants the
originals, and it leaves a request hanging whose answer it cannot read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import structlog

from autotrader.connectors.ibkr_connector import messages
from autotrader.domain.errors import AutotraderError, NotFound, Unreachable

log = structlog.get_logger(__name__)

_VERSION_WITHOUT_DETAILS_VERSION = 164


class ClientIdTaken(Unreachable):
    """Another client is connected to the gateway under this id."""


class Session:
    """A connection that answers one question at a time or many at once.

    Parameters
    ----------
    library : ModuleType
        `ib_async` or `ib_insync`.
    host : str
    port : int
    client_id : int
    pacing_rest_seconds : float
        What `Throttled` asks for after a pacing violation; the gateway itself names no time.
    """

    def __init__(
        self, library: ModuleType, host: str, port: int, client_id: int, *, pacing_rest_seconds: float
    ) -> None:
        self._library = library
        self._pacing_rest_seconds = pacing_rest_seconds
        self._address = f"{host}:{port}"
        self._host, self._port, self._client_id = host, port, client_id
        self._client: Any = library.Client(_Wrapper())
        self._client.decoder = _Inbox(self._on_message)
        self._client.conn.disconnected += self._on_disconnected
        self._ended: asyncio.Future[AutotraderError] = asyncio.get_running_loop().create_future()
        self._questions: dict[int | str, _Question] = {}
        self._notice = ""

    @property
    def is_open(self) -> bool:
        return not self._ended.done() and bool(self._client.isReady())

    async def connect(self, timeout_seconds: float) -> None:
        """Shake hands and log on.

        Raises
        ------
        ClientIdTaken
            If another client has the id.
        Unreachable
            If nothing listens, what listens is no gateway, or it does not answer in time.
        """
        connecting = asyncio.ensure_future(
            self._client.connectAsync(self._host, self._port, self._client_id, timeout_seconds)
        )
        try:
            await asyncio.wait({connecting, self._ended}, return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                raise self._ended.result()
            await connecting
        except (OSError, TimeoutError) as error:
            reason = str(error) or f"no answer within {timeout_seconds:g} s"
            raise Unreachable(
                f"expected TWS or Gateway at {self._address}, was {reason}: "
                "start it and enable its API socket"
            ) from error
        finally:
            if not connecting.done():
                connecting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await connecting

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
        question = _Question(f"bars of {symbol} to {end:%Y-%m-%d %H:%M}", empty_is_answer=True)
        stock = self._library.Stock(symbol, "SMART", "USD")
        form = end.astimezone(UTC).strftime("%Y%m%d-%H:%M:%S")
        self._client.reqHistoricalData(
            request, stock, form, f"{seconds} S", bar_size, "TRADES", use_rth, 2, False, None
        )
        try:
            (answer,) = await self._ask(request, question, timeout_seconds)
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
            return len(await self._ask(request, _Question(f"contract {symbol}"), timeout_seconds))
        except NotFound:
            return 0

    async def current_time(self, *, timeout_seconds: float) -> datetime:
        """The gateway's clock, to the second."""
        self._client.reqCurrentTime()
        (answer,) = await self._ask(messages.CURRENT_TIME, _Question("the time"), timeout_seconds)
        return datetime.fromtimestamp(int(answer[2]), UTC)

    async def close(self) -> None:
        """Leave; the gateway frees the client id."""
        if self._client.conn.isConnected():
            self._client.disconnect()
            # The transport closes in a later turn of the loop, which must not have ended by then.
            await asyncio.sleep(0)

    async def _ask(self, request: int | str, question: _Question, timeout_seconds: float) -> list[list[str]]:
        self._questions[request] = question
        try:
            return await asyncio.wait_for(question.answered, timeout_seconds)
        except TimeoutError:
            notice = f" (it last said: {self._notice})" if self._notice else ""
            raise Unreachable(
                f"{question.subject}: expected an answer within {timeout_seconds:g} s, was none{notice}"
            ) from None
        finally:
            self._questions.pop(request, None)

    def _on_message(self, fields: list[str]) -> None:
        match fields[0]:
            case messages.HISTORICAL_DATA:
                self._collect(int(fields[1]), fields, last=True)
            case messages.CONTRACT_DETAILS:
                versioned = self._client.serverVersion() < _VERSION_WITHOUT_DETAILS_VERSION
                self._collect(int(fields[2 if versioned else 1]), fields, last=False)
            case messages.CONTRACT_DETAILS_END:
                self._collect(int(fields[2]), None, last=True)
            case messages.CURRENT_TIME:
                self._collect(messages.CURRENT_TIME, fields, last=True)
            case messages.ERROR:
                self._on_error(int(fields[2]), int(fields[3]), fields)

    def _collect(self, request: int | str, fields: list[str] | None, *, last: bool) -> None:
        if question := self._questions.get(request):
            if fields is not None:
                question.collected.append(fields)
            if last:
                question.answer()

    def _on_error(self, request: int, code: int, fields: list[str]) -> None:
        text = fields[4]
        question = self._questions.get(request)
        if code == messages.CLIENT_ID_TAKEN:
            self._end(ClientIdTaken(f"client id {self._client_id} at {self._address}: {text}"))
        elif code in messages.CONNECTIVITY_LOST:
            self._notice = f"{code} {text}"
            self._fail_questions(self._error(code, text, self._address))
        elif code in messages.NOTICES:
            self._notice = f"{code} {text}"
            log.debug("gateway notice", venue="ibkr", code=code, text=text)
        elif question is None:
            log.warning("gateway error without a question", venue="ibkr", code=code, text=text)
        elif question.empty_is_answer and messages.is_no_data(code, text):
            self._collect(request, fields, last=True)
        else:
            question.fail(self._error(code, text, question.subject))

    def _error(self, code: int, text: str, subject: str) -> AutotraderError:
        return messages.error_of(code, text, subject, rest_seconds=self._pacing_rest_seconds)

    def _on_disconnected(self, reason: str) -> None:
        said = reason or "the gateway closed the connection"
        self._end(Unreachable(f"expected an open connection to {self._address}, was lost: {said}"))

    def _end(self, why: AutotraderError) -> None:
        if not self._ended.done():
            self._ended.set_result(why)
        self._fail_questions(self._ended.result())

    def _fail_questions(self, why: AutotraderError) -> None:
        for question in self._questions.values():
            question.fail(why)


class _Question:
    """A request under way and what has come back for it."""

    def __init__(self, subject: str, *, empty_is_answer: bool = False) -> None:
        self.subject = subject
        self.empty_is_answer = empty_is_answer
        self.collected: list[list[str]] = []
        self.answered: asyncio.Future[list[list[str]]] = asyncio.get_running_loop().create_future()

    def answer(self) -> None:
        if not self.answered.done():
            self.answered.set_result(self.collected)

    def fail(self, why: AutotraderError) -> None:
        if not self.answered.done():
            self.answered.set_exception(why)


class _Inbox:
    """Stands where the library's decoder would, and hands each message on as it came."""

    serverVersion = 0  # noqa: N815 - the client sets it under this name

    def __init__(self, on_message: Callable[[list[str]], None]) -> None:
        self._on_message = on_message

    def interpret(self, fields: list[str]) -> None:
        try:
            self._on_message(fields)
        except (ValueError, IndexError):
            # Its question, if it had one, times out and is asked again.
            log.warning("unreadable message", venue="ibkr", message_id=fields[:1], fields=len(fields))


class _Wrapper:
    """What the client calls beside its decoder; `Session` listens to the socket itself."""

    def connectAck(self) -> None:  # noqa: N802 - named by the library
        """The gateway agreed on a version."""

    def setEventsDone(self) -> None:  # noqa: N802
        """The connection ended."""

    def connectionClosed(self) -> None:  # noqa: N802
        """The connection ended after log-on."""
