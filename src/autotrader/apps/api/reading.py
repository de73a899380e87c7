"""Reads of an account that must fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from autotrader.apps.api.bodies import PositionBody, PositionsBody
from autotrader.domain.errors import NotFound
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import ZERO
from autotrader.domain.positions import Position
from autotrader.ports.trading import AccountState, Page, TradingReads, TradingRecords

Price = tuple[Decimal, datetime]


def state_of(records: TradingReads, account: str) -> AccountState:
    """The account's state.

    Raises
    ------
    NotFound
        If no trader has ever run for it.
    """
    state = records.state(account)
    if state is None:
        raise NotFound(
            f"expected an account that a trader has run for, was {account!r}: `autotrader trade` starts one"
        )
    return state


def positions_of(records: TradingReads, account: str) -> list[PositionBody]:
    """All positions by instrument, flat ones too, at the prices of their newest signals."""
    positions = sorted(records.holdings(account).positions.values(), key=lambda p: str(p.instrument))
    prices = newest_prices(records, account, [p.instrument for p in positions if p.quantity])
    return [position_body(position, prices.get(position.instrument)) for position in positions]


def account_positions(records: TradingRecords, account: str) -> PositionsBody:
    """The open positions beside cash and equity, all of one instant; raises as `state_of`."""
    with records.at_once() as reads:
        state = state_of(reads, account)
        return PositionsBody(
            account=account,
            base_currency=state.base_currency,
            equity=state.equity,
            cash=dict(state.cash),
            revision=state.revision,
            market_time=state.cursor,
            source=state.source,
            positions=[position for position in positions_of(reads, account) if position.quantity],
        )


def newest_prices(
    records: TradingReads, account: str, instruments: Sequence[InstrumentId]
) -> Mapping[InstrumentId, Price]:
    """Price and bar of each instrument's newest signal; an instrument without one is left out."""
    if not instruments:
        return {}
    found: dict[InstrumentId, Price] = {}
    # All instruments that are traded have a signal at each bar: one page of the newest has them all.
    for signal in records.signals(account, Page(limit=2 * len(instruments))):
        found.setdefault(signal.instrument, (signal.price, signal.ts))
    for instrument in set(instruments) - set(found):
        for signal in records.signals(account, Page(instrument=instrument, limit=1)):
            found[instrument] = (signal.price, signal.ts)
    return found


def position_body(position: Position, price: Price | None) -> PositionBody:
    """As it is shown; without a price, value and unrealised PnL of what is held are not known."""
    mark, at = price or (None, None)
    # What is flat is worth nothing, whatever its price.
    worth = mark if position.quantity else ZERO
    return PositionBody(
        instrument=str(position.instrument),
        quantity=position.quantity,
        average_price=position.average_price,
        price=mark,
        priced_at=at,
        value=None if worth is None else position.value(worth),
        unrealised_pnl=None if worth is None else position.unrealised(worth),
        realised_pnl=position.realised,
        fees=position.fees,
        opened_at=position.opened_at,
    )
