"""The paper venue, in an account in which somebody else is busy, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from autotrader.adapters.paper_broker import PaperBroker
from autotrader.domain.instruments import InstrumentId
from autotrader.ports.broker import VenueAccount, VenueOrder


class Elsewhere:
    """The paper venue, with what somebody else put into the account, or took out.

    Parameters
    ----------
    cash : str
        USDT.
    units : Mapping or None
        Signed.
    others : Mapping or None
        Other currencies that are there.
    orders : sequence of VenueOrder
        That work there.
    """

    def __init__(
        self,
        paper: PaperBroker,
        cash: str = "0",
        units: Mapping[InstrumentId, Decimal] | None = None,
        *,
        others: Mapping[str, Decimal] | None = None,
        orders: Sequence[VenueOrder] = (),
    ) -> None:
        self._paper = paper
        self._cash = Decimal(cash)
        self._units = dict(units or {})
        self._others = dict(others or {})
        self._orders = orders

    def __getattr__(self, name: str) -> Any:
        return getattr(self._paper, name)

    async def account(self, instruments: Sequence[InstrumentId]) -> VenueAccount:
        told = await self._paper.account(instruments)
        positions = dict(told.positions)
        for instrument, units in self._units.items():
            positions[instrument] = positions.get(instrument, Decimal(0)) + units
        held = {instrument: units for instrument, units in positions.items() if units}
        return replace(told, cash={"USDT": told.cash["USDT"] + self._cash, **self._others}, positions=held)

    async def open_orders(self) -> Sequence[VenueOrder]:
        return [*await self._paper.open_orders(), *self._orders]
