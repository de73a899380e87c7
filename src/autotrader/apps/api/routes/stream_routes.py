"""The stream: `WS /api/stream`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, WebSocket
from pydantic import BeforeValidator, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.websockets import WebSocketDisconnect

from autotrader.apps.api.access import bearer
from autotrader.apps.api.answers import Denied, complaint, denial
from autotrader.apps.api.bodies import PositionsBody
from autotrader.apps.api.queries import AccountQuery
from autotrader.apps.api.reading import account_positions
from autotrader.apps.api.sources import Sources
from autotrader.apps.api.stream import Client, Message
from autotrader.domain.errors import AutotraderError, NotFound
from autotrader.domain.thresholds import API
from autotrader.ports.tokens import Scope

TRY_AGAIN = 1013  # RFC 6455's registry
TOKEN_ENDED = 4401
TOO_SLOW = 4408
CLOSE_SECONDS = 2.0

_REASON_BYTES = 123  # that a close frame holds

Kinds = Annotated[
    frozenset[Literal["position", "fill", "alert"]],
    BeforeValidator(lambda value: value.split(",") if isinstance(value, str) else value),
]


class StreamQuery(AccountQuery):
    kinds: Kinds = frozenset({"position", "fill", "alert"})
    after: str | None = Field(None, max_length=64, description="Cursor of the last message that was read")


def stream_routes(sources: Sources) -> APIRouter:
    router = APIRouter()

    @router.websocket("/api/stream")
    async def stream(websocket: WebSocket) -> None:
        """Positions, fills and alerts as they happen."""
        request_id = websocket.state.request_id
        try:
            await sources.door.admit(websocket, Scope.READ)
            query = StreamQuery.model_validate(dict(websocket.query_params))
        except Denied as denied:
            await _refuse(websocket, denial(denied, request_id))
            return
        except ValidationError as error:
            expected = "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())
            was = str(websocket.query_params)[:200]
            answer = complaint(422, expected, was, request_id, error="wrong parameters")
            await _refuse(websocket, answer)
            return
        except AutotraderError as error:
            await _refuse(websocket, complaint(503, "to look up the token", str(error), request_id))
            return
        if sources.stream.clients >= API.stream_clients:
            was = f"one more than {API.stream_clients} streams"
            await _refuse(websocket, complaint(503, f"at most {API.stream_clients} streams", was, request_id))
            return
        account = query.account or sources.account
        joined = sources.stream.join(account, frozenset(query.kinds), query.after)
        if joined is None:
            was = f"{query.after!r}: read the lists again, and connect without a cursor"
            expected = "the cursor of one of the newest messages of this process"
            await _refuse(websocket, complaint(HTTPStatus.GONE, expected, was, request_id))
            return
        client, missed = joined
        try:
            await _Conversation(websocket, sources, client).hold(missed)
        finally:
            sources.stream.leave(client)

    return router


class _Conversation:
    """One client's stream, from its greeting to its end."""

    def __init__(self, websocket: WebSocket, sources: Sources, client: Client) -> None:
        self._websocket = websocket
        self._sources = sources
        self._client = client
        self._token = bearer(websocket)
        self._sent = sources.stream.cursor()

    async def hold(self, missed: list[Message]) -> None:
        """Until either side ends it."""
        began_after = missed[0].number - 1 if missed else None
        self._sent = self._sources.stream.cursor(began_after)
        await self._websocket.accept()
        telling = asyncio.create_task(self._tell(missed))
        listening = asyncio.create_task(self._listen())
        dropped = asyncio.create_task(self._client.dropped.wait())
        tasks = (telling, listening, dropped)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            was_dropped = dropped.done()
        finally:
            for task in tasks:
                task.cancel()
            told, *_ = await asyncio.gather(*tasks, return_exceptions=True)
        if was_dropped:
            reason = f"you did not read {API.stream_queue} messages: resume with after={self._sent}"
            await self._close(TOO_SLOW, reason)
            return
        match told:
            case Denied():
                await self._close(TOKEN_ENDED, f"the token is in force no more: {told.was}")
            case AutotraderError() | TimeoutError():
                await self._close(TRY_AGAIN, "the database does not answer: try again")
            case None | asyncio.CancelledError() | WebSocketDisconnect():
                pass
            case BaseException():
                raise told

    async def _tell(self, missed: list[Message]) -> None:
        # What the first look finds is told by none: it must be in the greeting.
        await asyncio.wait_for(self._sources.stream.begun.wait(), API.stream_heartbeat_seconds)
        await self._send("hello", self._sent, {"positions": await run_in_threadpool(self._positions)})
        for message in missed:
            await self._pass_on(message)
        while True:
            while self._client.queue:
                await self._pass_on(self._client.queue.popleft())
            self._client.ready.clear()
            try:
                await asyncio.wait_for(self._client.ready.wait(), API.stream_heartbeat_seconds)
            except TimeoutError:
                if self._token is not None:
                    await run_in_threadpool(self._sources.door.recognise, self._token)
                self._sent = self._sources.stream.cursor()
                await self._send("heartbeat", self._sent, {"at": self._sources.clock.now().isoformat()})

    async def _listen(self) -> None:
        """Nothing that a client says matters, but that it goes."""
        while (await self._websocket.receive())["type"] != "websocket.disconnect":
            pass

    async def _pass_on(self, message: Message) -> None:
        cursor = self._sources.stream.cursor(message.number)
        await self._send(message.happening.kind, cursor, message.happening.data)
        self._sent = cursor

    async def _send(self, kind: str, cursor: str, data: dict[str, Any]) -> None:
        await self._websocket.send_text(json.dumps({"type": kind, "cursor": cursor, "data": data}))

    async def _close(self, code: int, reason: str) -> None:
        # Whoever does not read does not see the end either; it is cut off then.
        with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
            await asyncio.wait_for(self._websocket.close(code, reason[:_REASON_BYTES]), CLOSE_SECONDS)

    def _positions(self) -> dict[str, Any] | None:
        try:
            found: PositionsBody = account_positions(self._sources.records, self._client.account)
        except NotFound:
            return None
        return found.model_dump(mode="json")


async def _refuse(websocket: WebSocket, answer: JSONResponse) -> None:
    answer.headers["X-Request-ID"] = websocket.state.request_id
    await websocket.send_denial_response(answer)
