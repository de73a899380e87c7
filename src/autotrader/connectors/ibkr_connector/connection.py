"""One connection to TWS or Gateway: requests go out by the client library, raw answers come back.

The library's client does the handshake, framing and rate limit, and writes requests. Its decoder is
replaced by `_Inbox`: it would turn the venue's fields into floats, of which the archive and the books
want the originals, and it leaves a request hanging whose answer it cannot read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

import structlog

from autotrader.connectors.ibkr_connector import messages
from autotrader.domain.errors import AutotraderError, Unreachable

log = structlog.get_logger(__name__)


class ClientIdTaken(Unreachable):
    """Another client is connected to the gateway under this id."""


class Connection:
    """A connection that answers one question at a time or many at once.

    Those that extend it say what they understand: `_hear` and `_hear_error`.

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
        self._client.decoder = _Inbox(self._on_message, self._on_unreadable)
        self._client.conn.disconnected += self._on_disconnected
        self._ended: asyncio.Future[AutotraderError] = asyncio.get_running_loop().create_future()
        self._questions: dict[int | str, Question] = {}
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
            connecting.cancel()
            # Its own error is heard, too, where the connection's end came first.
            await asyncio.gather(connecting, return_exceptions=True)

    async def close(self) -> None:
        """Leave; the gateway frees the client id."""
        if self._client.conn.isConnected():
            self._client.disconnect()
            # The transport closes in a later turn of the loop, which must not have ended by then.
            await asyncio.sleep(0)

    async def ask(self, request: int | str, question: Question, timeout_seconds: float) -> list[list[str]]:
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

    def _hear(self, fields: list[str]) -> None:
        """Take in a message that is no error."""

    def _hear_error(self, request: int, code: int, text: str) -> bool:  # noqa: ARG002 - for others to use
        """Take in an error; False where it is for the connection to deal with."""
        return False

    def _on_message(self, fields: list[str]) -> None:
        if fields[0] == messages.ERROR:
            self._on_error(int(fields[2]), int(fields[3]), fields)
        else:
            self._hear(fields)

    def _on_unreadable(self, fields: list[str]) -> None:
        """Say so; the message's question, if it had one, times out and is asked again."""
        log.warning("unreadable message", venue="ibkr", message_id=fields[:1], fields=len(fields))

    def _collect(self, request: int | str, fields: list[str] | None, *, last: bool) -> None:
        if question := self._questions.get(request):
            if fields is not None:
                question.collected.append(fields)
            if last:
                question.answer()

    def _on_error(self, request: int, code: int, fields: list[str]) -> None:
        text = fields[4]
        question = self._questions.get(request)
        if self._hear_error(request, code, text):
            return
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


class Question:
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

    def __init__(
        self, on_message: Callable[[list[str]], None], on_unreadable: Callable[[list[str]], None]
    ) -> None:
        self._on_message = on_message
        self._on_unreadable = on_unreadable

    def interpret(self, fields: list[str]) -> None:
        try:
            self._on_message(fields)
        except (ValueError, IndexError):
            self._on_unreadable(fields)


class _Wrapper:
    """What the client calls beside its decoder; `Session` listens to the socket itself."""

    def connectAck(self) -> None:  # noqa: N802 - named by the library
        """The gateway agreed on a version."""

    def setEventsDone(self) -> None:  # noqa: N802
        """The connection ended."""

    def connectionClosed(self) -> None:  # noqa: N802
        """The connection ended after log-on."""
