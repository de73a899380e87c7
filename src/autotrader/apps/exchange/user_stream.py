"""The user data stream, as the venue's WebSocket API gives it to who signs a subscription.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-api (listen keys are no more)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from autotrader.apps.exchange.account import Account, Happening
from autotrader.apps.exchange.account_notation import position_json, report_json
from autotrader.apps.exchange.answers import Refused, reset
from autotrader.apps.exchange.clock import ExchangeClock
from autotrader.apps.exchange.faults import FaultKind, Faults
from autotrader.apps.exchange.feeds import UPDATES_PER_BAR, next_instant
from autotrader.apps.exchange.klines import MINUTE
from autotrader.apps.exchange.matching import Matching
from autotrader.apps.exchange.signatures import Signatures
from autotrader.apps.exchange.streams import TIMES_SENT

_SUBSCRIBE = "userDataStream.subscribe.signature"
_ID = 0  # of the one subscription that a connection has


class UserStream:
    """Handler of `/ws-api/v3`, for subscriptions alone."""

    def __init__(
        self,
        account: Account,
        matching: Matching,
        signatures: Signatures,
        clock: ExchangeClock,
        faults: Faults,
    ) -> None:
        self._account, self._matching, self._signatures = account, matching, signatures
        self._clock, self._faults = clock, faults
        self._connected: dict[web.WebSocketResponse, web.Request] = {}

    @property
    def subscriptions(self) -> int:
        return len(self._account.listeners)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/ws-api/v3", self._serve)]

    def cut(self) -> None:
        """Break all connections, as a failing load balancer does."""
        for request in list(self._connected.values()):
            reset(request)

    async def close(self) -> None:
        for ws in list(self._connected):
            await ws.close(code=WSCloseCode.GOING_AWAY)

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        self._connected[ws] = request
        happened: asyncio.Queue[Happening] = asyncio.Queue()
        listener = happened.put_nowait
        telling: list[asyncio.Task[None]] = []
        try:
            async for message in ws:
                if message.type is not WSMsgType.TEXT:
                    continue
                answer = self._answer(json.loads(message.data))
                if "result" in answer and not telling:
                    self._account.listeners.append(listener)
                    telling = [
                        asyncio.create_task(self._tell(request, ws, happened)),
                        asyncio.create_task(self._keep_matching()),
                    ]
                await ws.send_json(answer)
        finally:
            if listener in self._account.listeners:
                self._account.listeners.remove(listener)
            for task in telling:
                task.cancel()
            for task in telling:
                with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                    await task
            del self._connected[ws]
        return ws

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What is said to a request; a subscription is the only one that has a result."""
        sent = {name: str(value) for name, value in asked.get("params", {}).items()}
        payload = "&".join(f"{name}={sent[name]}" for name in sorted(sent))
        try:
            if asked.get("method") != _SUBSCRIBE:
                raise Refused(-1020, "This operation is not supported.")
            self._signatures.check(sent.get("apiKey"), payload, sent)
        except Refused as refused:
            error = {"code": refused.code, "msg": str(refused)}
            return {"id": asked.get("id"), "status": refused.status, "error": error}
        return {"id": asked.get("id"), "status": 200, "result": {"subscriptionId": _ID}, "rateLimits": []}

    async def _tell(
        self, request: web.Request, ws: web.WebSocketResponse, happened: asyncio.Queue[Happening]
    ) -> None:
        while True:
            happening = await happened.get()
            fault = self._fault(happening)
            if fault is FaultKind.RESET:
                reset(request)
                return
            text = json.dumps({"subscriptionId": _ID, "event": report_json(happening)})
            for _ in range(TIMES_SENT.get(fault, 1)):
                await ws.send_str(text[: len(text) * 2 // 3] if fault is FaultKind.TRUNCATED else text)
            position = position_json(self._account, happening.at_ms)
            await ws.send_json({"subscriptionId": _ID, "event": position})

    def _fault(self, happening: Happening) -> FaultKind | None:
        """Faults befall fills; what else happens is told as it is."""
        if happening.trade is None:
            return None
        return self._faults.stream_fault("user_stream", happening.order.symbol, happening.at_ms)

    async def _keep_matching(self) -> None:
        """Fill what the market reaches while nobody asks for anything."""
        while True:
            await self._clock.wait_until(next_instant(self._clock.now(), MINUTE / UPDATES_PER_BAR))
            self._matching.catch_up()
