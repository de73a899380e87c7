"""What was earned."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter
from fastapi import Query as FromQuery

from autotrader.apps.api.bodies import PnlBody
from autotrader.apps.api.figures import FigureBook
from autotrader.apps.api.queries import AccountQuery
from autotrader.apps.api.reading import newest_prices, of_one_revision
from autotrader.apps.api.sources import Sources
from autotrader.domain.orders import ZERO
from autotrader.domain.positions import Holdings
from autotrader.ports.trading import AccountState


class PnlQuery(AccountQuery):
    days: int = FromQuery(
        30, ge=1, le=92, description="Window of performance and curve, up to the newest bar"
    )
    points: int = FromQuery(500, ge=2, le=5_000, description="Of the equity curve")


@dataclass(frozen=True, slots=True)
class Sums:
    """Amounts of all positions together; None where they cannot be added up, and why."""

    realised: Decimal | None = None
    unrealised: Decimal | None = None
    fees: Decimal | None = None
    not_summed: str | None = None


def pnl_routes(sources: Sources) -> APIRouter:
    router = APIRouter(tags=["trading"])
    figures = FigureBook(sources.records, sources.clock)

    @router.get("/api/pnl")
    def pnl(query: Annotated[PnlQuery, FromQuery()]) -> PnlBody:
        """Profit and loss now, and the performance of the last days."""
        account = query.account or sources.account

        def read(state: AccountState) -> PnlBody:
            sums = _sums(sources, state)
            found = figures.of(state, query.days, one_currency=sums.not_summed is None)
            return PnlBody(
                account=account,
                base_currency=state.base_currency,
                revision=state.revision,
                market_time=state.cursor,
                source=state.source,
                initial_equity=state.initial_equity,
                equity=state.equity,
                total=state.equity - state.initial_equity,
                daily=state.equity - state.day_start_equity,
                realised=sums.realised,
                unrealised=sums.unrealised,
                fees=sums.fees,
                not_summed=sums.not_summed,
                days=query.days,
                performance=found.performance,
                equity_curve=found.curve(query.points),
            )

        return of_one_revision(sources.records, account, read)

    return router


def _sums(sources: Sources, state: AccountState) -> Sums:
    holdings = sources.records.holdings(state.account)
    if foreign := _foreign(sources, state, holdings):
        return Sums(
            not_summed=f"expected {state.base_currency} alone, was also {', '.join(foreign)}: "
            "see the positions in their own currencies"
        )
    held = [position for position in holdings.positions.values() if position.quantity]
    prices = newest_prices(sources.records, state.account, [p.instrument for p in held])
    unpriced = sorted(str(p.instrument) for p in held if p.instrument not in prices)
    every = holdings.positions.values()
    fees = sum((p.fees for p in every), ZERO)
    return Sums(
        realised=sum((p.realised for p in every), ZERO) - fees,
        unrealised=None if unpriced else sum((p.unrealised(prices[p.instrument][0]) for p in held), ZERO),
        fees=fees,
        not_summed=f"no signal tells the price of {', '.join(unpriced)}" if unpriced else None,
    )


def _foreign(sources: Sources, state: AccountState, holdings: Holdings) -> list[str]:
    """Currencies in use that do not count as the base currency: every trade leaves cash in its own."""
    same = {state.base_currency, *sources.settings.trading.same_as_base}
    return sorted(name for name in holdings.cash if name not in same)
