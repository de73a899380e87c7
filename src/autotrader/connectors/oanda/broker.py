"""An account at OANDA: orders in foreign exchange."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx
import structlog

from autotrader.config.settings import OandaSettings
from autotrader.connectors.oanda.client import OandaClient
from autotrader.connectors.oanda.transaction_log import TransactionLog, body
from autotrader.connectors.oanda.transactions import (
    COUNTED,
    Transaction,
    became,
    cash_of,
    client_id_of,
    fills_of,
    rules_of,
    time_of,
    told_by,
    units_held,
    working_orders,
)
from autotrader.connectors.resilience import RetryPolicy
from autotrader.domain.errors import (
    ConfigurationError,
    DependencyError,
    NotFound,
    Refused,
    Rejected,
    Unreachable,
)
from autotrader.domain.instruments import InstrumentId, InstrumentRules, Venue
from autotrader.domain.orders import Fill, Order, OrderStatus, OrderType
from autotrader.ports.broker import Update, VenueAccount, VenueOrder
from autotrader.ports.clock import WallClock

log = structlog.get_logger(__name__)

LIVE_HOST = "fxtrade.oanda.com"
# An order's answer is not waited for longer: a new owner of the lease waits this out.
TIMEOUT = httpx.Timeout(5.0, connect=3.0)
# Two heartbeats missed, and some more.
SILENCE_SECONDS = 12.0
# How far our clock may be ahead of the venue's.
SKEW = timedelta(minutes=5)
RECONNECTING = RetryPolicy(first_wait_seconds=0.25, longest_wait_seconds=15.0)

_ANSWERS_TO_ORDERS = (httpx.codes.CREATED, httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND)
_ANSWERS_TO_CANCELS = (httpx.codes.OK, httpx.codes.NOT_FOUND)
_MADE = (
    "orderCreateTransaction",
    "orderFillTransaction",
    "orderCancelTransaction",
    "orderReissueTransaction",
)
_TAKEN = "CLIENT_ORDER_ID_ALREADY_EXISTS"


class OandaBroker:
    """Orders by v20 REST, updates by the transaction stream.

    The venue keeps client ids apart among pending orders only: a market order sent twice would be
    filled twice. So each submission looks into the account's transactions first, and what an order
    has become is always read from there. Two submissions of one order at the same time are the
    caller's to prevent: it holds the lease.

    Parameters
    ----------
    settings : OandaSettings
    wall_clock : WallClock
    account : str
        Our name of the account.
    live : bool
        Whether the real account may be traded.
    timeout : httpx.Timeout
        For one request.
    silence_seconds : float
        Without a byte for so long, the stream is made anew.
    reconnecting : RetryPolicy
        Its waits, between attempts to open the stream.

    Raises
    ------
    ConfigurationError
        If token or account are not set.
    Refused
        If the settings name the real account, and `live` is false.
    """

    venue = Venue.OANDA

    def __init__(
        self,
        settings: OandaSettings,
        wall_clock: WallClock,
        *,
        account: str,
        live: bool,
        timeout: httpx.Timeout = TIMEOUT,
        silence_seconds: float = SILENCE_SECONDS,
        reconnecting: RetryPolicy = RECONNECTING,
    ) -> None:
        if settings.account is None:
            raise ConfigurationError("AUTOTRADER_OANDA__ACCOUNT: expected the venue's account id, was empty")
        host = urlsplit(settings.rest_url).hostname or ""
        if host.endswith(LIVE_HOST) and not live:
            raise Refused(
                f"expected OANDA's practice API, was {settings.rest_url}: "
                "set AUTOTRADER_TRADING__LIVE to trade real money"
            )
        self._account = account
        self._path = f"/v3/accounts/{quote(settings.account, safe='')}"
        self._wall_clock = wall_clock
        self._client = OandaClient(settings, wall_clock, timeout=timeout)
        self._log = TransactionLog(self._client, quote(settings.account, safe=""))
        self._silence_seconds = silence_seconds
        self._reconnecting = reconnecting
        self._currency: str | None = None
        self._open = False
        self._gaps = 0

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open = False
        await self._client.aclose()

    @property
    def gaps(self) -> int:
        return self._gaps

    async def rules(self, instruments: Sequence[InstrumentId]) -> Mapping[InstrumentId, InstrumentRules]:
        names = ",".join(instrument.symbol for instrument in instruments)
        answer = body(await self._client.get(f"{self._path}/instruments", instruments=names))
        found = {InstrumentId(self.venue, about["name"]): rules_of(about) for about in answer["instruments"]}
        for instrument in instruments:
            if instrument not in found:
                raise NotFound(f"expected {instrument} to be tradeable in the account, was not")
        return {instrument: found[instrument] for instrument in instruments}

    async def account(self, instruments: Sequence[InstrumentId]) -> VenueAccount:
        """Cash as if what is held had been paid for (`transactions.cash_of`), and net units.

        `at` is the time of arrival, but for an answer that lags behind transactions that are known
        already: then it is that of the last one that the answer counts in.
        """
        known = self._log.newest
        details = await self._details()
        wanted = set(instruments)
        held = {InstrumentId(self.venue, name): units for name, units in units_held(details)}
        last = int(details["lastTransactionID"])
        at = time_of(await self._log.one(last)) if last < known else self._wall_clock.now()
        return VenueAccount(
            cash=cash_of(details),
            positions={name: units for name, units in held.items() if name in wanted and units},
            at=at,
        )

    async def open_orders(self) -> Sequence[VenueOrder]:
        return list(working_orders(await self._details()))

    async def order(self, order: Order) -> VenueOrder | None:
        """The order, as the transactions since it was recorded tell."""
        transactions = await self._log.since(order.recorded_at - SKEW)
        return told_by(t for t in transactions if client_id_of(t) == order.client_order_id)

    async def fills(self, instruments: Sequence[InstrumentId], since: datetime) -> Sequence[Fill]:
        """As the port says; also financing and conversions, as fills of no units (`fills_of`)."""
        currency = await self._home_currency()
        return [
            fill
            for transaction in await self._log.since(since, *COUNTED)
            for fill in fills_of(transaction, account=self._account, currency=currency)
            if fill.instrument in instruments and fill.at >= since
        ]

    async def submit(self, order: Order) -> VenueOrder:
        """Hand over an order, unless it is there already.

        A market order takes what it gets at once and gives up the rest, so that one that flattens
        is never refused whole for want of liquidity. One that `reduces` is held to that by the venue.
        """
        known = await self.order(order)
        if known is not None and known.status is not OrderStatus.REJECTED:
            return known
        response = await self._client.send(
            "POST", f"{self._path}/orders", body={"order": _request(order)}, answers=_ANSWERS_TO_ORDERS
        )
        answer = body(response)
        self._log.note(answer)
        if response.status_code == httpx.codes.CREATED:
            made = told_by(answer[name] for name in _MADE if name in answer)
            if made is None:
                raise Unreachable(f"expected the order in OANDA's answer, was {sorted(answer)}: ask for it")
            return made
        reason = str(answer.get("orderRejectTransaction", {}).get("rejectReason", ""))
        if reason == _TAKEN and (there := await self.order(order)):
            return there
        raise Rejected(
            f"{order.client_order_id}: expected OANDA to take the order, was "
            f"{reason or answer.get('errorMessage', response.status_code)}"
        )

    async def cancel(self, order: Order) -> VenueOrder | None:
        specifier = quote(f"@{order.client_order_id}", safe="@")
        response = await self._client.send(
            "PUT", f"{self._path}/orders/{specifier}/cancel", answers=_ANSWERS_TO_CANCELS
        )
        self._log.note(body(response))
        return await self.order(order)

    async def updates(self) -> AsyncIterator[Update]:
        """Fills, and what they and cancellations made of their orders."""
        attempts, failures = 0, 0
        while self._open:
            attempts += 1
            try:
                async for update in self._updates(again=attempts > 1):
                    failures = 0
                    if update is not None:
                        yield update
                reason = "the venue ended the stream"
            except Unreachable as error:
                reason = str(error)
            if self._open:
                failures += 1
                wait = self._reconnecting.longest_wait(failures)
                log.warning("transaction stream lost", venue="oanda", reason=reason, wait_seconds=wait)
                await asyncio.sleep(wait)

    async def keep_alive(self, seconds: float) -> bool:  # noqa: ARG002 - the port names it
        """False: the venue has no switch. Orders can carry an end (GTD), but none can be prolonged."""
        return False

    async def _updates(self, *, again: bool) -> AsyncIterator[Update | None]:
        """Updates of one connection; None for what is none, so that its life is seen."""
        seen: int | None = None
        async for said in self._log.stream(silence_seconds=self._silence_seconds):
            if seen is None and again:
                self._gaps += 1
            if said["type"] == "HEARTBEAT":
                last = int(said["lastTransactionID"])
                if seen is not None and last > seen:
                    log.warning("transactions were not told", venue="oanda", expected=last, seen=seen)
                    self._gaps += 1
                seen = max(last, seen or 0)
                yield None
            elif seen is None or int(said["id"]) > seen:
                seen = int(said["id"])
                self._log.note({"lastTransactionID": said["id"]})
                async for update in self._read(said):
                    yield update

    async def _read(self, said: Transaction) -> AsyncIterator[Update | None]:
        if said["type"] in COUNTED:
            for fill in fills_of(said, account=self._account, currency=await self._home_currency()):
                yield fill
        if said["type"] in {"ORDER_FILL", "ORDER_CANCEL"}:
            # An order's id is that of the transaction that made it.
            order_id = str(said["orderID"])
            try:
                since = await self._log.between(int(order_id), int(said["id"]))
            except DependencyError as error:
                log.warning("order was not read", venue="oanda", order=order_id, reason=str(error))
                self._gaps += 1
                return
            yield told_by(t for t in since if order_id in {t["id"], t.get("orderID")})
        else:
            yield became(None, said)

    async def _details(self) -> dict[str, Any]:
        answer = body(await self._client.get(self._path))
        self._log.note(answer)
        details: dict[str, Any] = dict(answer["account"])
        self._currency = str(details["currency"])
        return {"lastTransactionID": answer["lastTransactionID"], **details}

    async def _home_currency(self) -> str:
        return self._currency or str((await self._details())["currency"])


def _request(order: Order) -> dict[str, Any]:
    units = order.quantity * order.side.sign
    request = {
        "type": order.type.name,
        "instrument": order.instrument.symbol,
        "units": f"{units:f}",
        "timeInForce": "IOC" if order.type is OrderType.MARKET else "GTC",
        "positionFill": "REDUCE_ONLY" if order.reduces else "DEFAULT",
        "clientExtensions": {"id": order.client_order_id, "tag": order.strategy_id},
    }
    if order.limit_price is not None:
        request["price"] = f"{order.limit_price:f}"
    return request
