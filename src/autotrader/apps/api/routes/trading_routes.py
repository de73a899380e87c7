"""What an account holds, and what it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Response
from fastapi import Query as FromQuery

from autotrader.apps.api.bodies import (
    Body,
    FillBody,
    Listing,
    OrderBody,
    PositionsBody,
    SignalBody,
    TradeBody,
)
from autotrader.apps.api.queries import AccountQuery, AccountSpan
from autotrader.apps.api.reading import account_positions, state_of
from autotrader.apps.api.shapes import answer
from autotrader.apps.api.sources import Sources
from autotrader.ports.trading import Page


def trading_routes(sources: Sources) -> APIRouter:
    router = APIRouter(tags=["trading"])
    records = sources.records

    def listed(
        query: AccountSpan, listing: Callable[[str, Page], Sequence[object]], kind: type[Body]
    ) -> Response:
        account = query.account or sources.account
        found = listing(account, query.page())
        if not found:
            state_of(records, account)
        return query.listing(found, kind)

    @router.get("/api/positions", response_model=PositionsBody)
    def positions(query: Annotated[AccountQuery, FromQuery()]) -> Response:
        """Open positions with their value, all of one moment: equity is cash plus their values."""
        return answer(account_positions(records, query.account or sources.account).model_dump_json())

    @router.get("/api/orders", response_model=Listing[OrderBody])
    def orders(query: Annotated[AccountSpan, FromQuery()]) -> Response:
        """Orders, by when they were decided (market time)."""
        return listed(query, records.orders, OrderBody)

    @router.get("/api/fills", response_model=Listing[FillBody])
    def fills(query: Annotated[AccountSpan, FromQuery()]) -> Response:
        """What was traded at the venue, by its clock."""
        return listed(query, records.fills, FillBody)

    @router.get("/api/trades", response_model=Listing[TradeBody])
    def trades(query: Annotated[AccountSpan, FromQuery()]) -> Response:
        """Positions that were closed, by when they were (the venue's clock)."""
        return listed(query, records.trades, TradeBody)

    @router.get("/api/signals", response_model=Listing[SignalBody])
    def signals(query: Annotated[AccountSpan, FromQuery()]) -> Response:
        """Predictions and what was made of them, by bar (market time)."""
        return listed(query, records.signals, SignalBody)

    return router
