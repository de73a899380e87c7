"""What an account holds, and what it did."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from fastapi import Query as FromQuery

from autotrader.apps.api.bodies import FillBody, Listing, OrderBody, PositionsBody, SignalBody, TradeBody
from autotrader.apps.api.queries import AccountQuery, AccountSpan
from autotrader.apps.api.reading import account_positions, state_of
from autotrader.apps.api.sources import Sources


def trading_routes(sources: Sources) -> APIRouter:
    router = APIRouter(tags=["trading"])
    records = sources.records

    def known(account: str | None) -> str:
        return state_of(records, account or sources.account).account

    @router.get("/api/positions")
    def positions(query: Annotated[AccountQuery, FromQuery()]) -> PositionsBody:
        """Open positions with their value, all of one moment: equity is cash plus their values."""
        return account_positions(records, query.account or sources.account)

    @router.get("/api/orders")
    def orders(query: Annotated[AccountSpan, FromQuery()]) -> Listing[OrderBody]:
        """Orders, by when they were decided (market time)."""
        return query.listing(records.orders(known(query.account), query.page()), OrderBody)

    @router.get("/api/fills")
    def fills(query: Annotated[AccountSpan, FromQuery()]) -> Listing[FillBody]:
        """What was traded at the venue, by its clock."""
        return query.listing(records.fills(known(query.account), query.page()), FillBody)

    @router.get("/api/trades")
    def trades(query: Annotated[AccountSpan, FromQuery()]) -> Listing[TradeBody]:
        """Positions that were closed, by when they were (the venue's clock)."""
        return query.listing(records.trades(known(query.account), query.page()), TradeBody)

    @router.get("/api/signals")
    def signals(query: Annotated[AccountSpan, FromQuery()]) -> Listing[SignalBody]:
        """Predictions and what was made of them, by bar (market time)."""
        return query.listing(records.signals(known(query.account), query.page()), SignalBody)

    return router
