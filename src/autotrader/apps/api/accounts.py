"""What an account earned and what it may do: the figures that the API and the console show alike."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from autotrader.apps.api.bodies import (
    ControlBody,
    EarnedBody,
    LeaseBody,
    PnlBody,
    RestrictionBody,
    RiskBody,
)
from autotrader.apps.api.figures import FigureBook, Figures
from autotrader.apps.api.reading import newest_prices, state_of
from autotrader.domain.orders import ZERO
from autotrader.domain.positions import Holdings
from autotrader.ports.trading import AccountState, TradingReads, TradingRecords


def account_pnl(
    records: TradingRecords,
    figures: FigureBook,
    account: str,
    *,
    same_as_base: Collection[str],
    days: int,
    points: int,
) -> PnlBody:
    """Profit and loss now, and the performance of the last days; raises as `state_of`.

    Parameters
    ----------
    same_as_base : Collection of str
        Currencies that count as the base currency.
    days : int
        Window of performance and curve, up to the newest bar.
    points : int
        Of the curve, at most.
    """
    body, found = earned(records, figures, account, same_as_base=same_as_base, days=days)
    return PnlBody(**dict(body), equity_curve=found.curve(points))


def earned(
    records: TradingRecords, figures: FigureBook, account: str, *, same_as_base: Collection[str], days: int
) -> tuple[EarnedBody, Figures]:
    """As `account_pnl`, without the curve, which is in the figures.

    The amounts are of one instant; figures may be of one before (`FigureBook`).
    """
    with records.at_once() as reads:
        state = state_of(reads, account)
        sums = _sums(reads, state, same_as_base)
        found = figures.of(reads, state, days, one_currency=sums.not_summed is None)
    body = EarnedBody(
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
        days=days,
        performance=found.performance,
    )
    return body, found


def account_risk(records: TradingRecords, account: str, now: datetime) -> RiskBody:
    """What the account may do and why, and who trades it; raises as `state_of`.

    Parameters
    ----------
    now : datetime
        Wall time: whether the lease is held.
    """
    with records.at_once() as reads:
        state, lease = state_of(reads, account), reads.lease(account)
        waiting = reads.unanswered(account)
    drawdown = float(1 - state.equity / state.peak_equity) if state.peak_equity > 0 else 0.0
    return RiskBody(
        account=account,
        state=state.state,
        status=state.status,
        heartbeat_at=state.heartbeat_at,
        restrictions=[RestrictionBody.model_validate(r) for r in state.restrictions],
        breaker_tripped=any(r.cause.is_breaker for r in state.restrictions),
        lease=None
        if lease is None
        else LeaseBody(
            owner=lease.owner,
            token=lease.token,
            expires_at=lease.expires_at,
            is_held=now < lease.expires_at,
        ),
        base_currency=state.base_currency,
        equity=state.equity,
        peak_equity=state.peak_equity,
        drawdown=max(drawdown, 0.0),
        daily_pnl=state.equity - state.day_start_equity,
        consecutive_losses=state.consecutive_losses,
        waiting=[ControlBody.model_validate(c) for c in waiting],
    )


@dataclass(frozen=True, slots=True)
class _Sums:
    """Amounts of all positions together; None where they cannot be added up, and why."""

    realised: Decimal | None = None
    unrealised: Decimal | None = None
    fees: Decimal | None = None
    not_summed: str | None = None


def _sums(records: TradingReads, state: AccountState, same_as_base: Collection[str]) -> _Sums:
    holdings = records.holdings(state.account)
    if foreign := _foreign(state, holdings, same_as_base):
        return _Sums(
            not_summed=f"expected {state.base_currency} alone, was also {', '.join(foreign)}: "
            "see the positions in their own currencies"
        )
    held = [position for position in holdings.positions.values() if position.quantity]
    prices = newest_prices(records, state.account, [p.instrument for p in held])
    unpriced = sorted(str(p.instrument) for p in held if p.instrument not in prices)
    every = holdings.positions.values()
    fees = sum((p.fees for p in every), ZERO)
    return _Sums(
        realised=sum((p.realised for p in every), ZERO) - fees,
        unrealised=None if unpriced else sum((p.unrealised(prices[p.instrument][0]) for p in held), ZERO),
        fees=fees,
        not_summed=f"no signal tells the price of {', '.join(unpriced)}" if unpriced else None,
    )


def _foreign(state: AccountState, holdings: Holdings, same_as_base: Collection[str]) -> list[str]:
    """Currencies in use that do not count as the base currency: every trade leaves cash in its own."""
    same = {state.base_currency, *same_as_base}
    return sorted(name for name in holdings.cash if name not in same)
