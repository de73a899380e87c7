"""Instruments: what is traded, where, and by which rules of the venue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Venue(StrEnum):
    """A market place, named as in every table, path and label."""

    BINANCE = "binance"
    IBKR = "ibkr"
    OANDA = "oanda"


class AssetClass(StrEnum):
    CRYPTO = "crypto"
    EQUITY = "equity"
    FX = "fx"


ASSET_CLASS_OF: dict[Venue, AssetClass] = {
    Venue.BINANCE: AssetClass.CRYPTO,
    Venue.IBKR: AssetClass.EQUITY,
    Venue.OANDA: AssetClass.FX,
}


@dataclass(frozen=True, slots=True, order=True)
class InstrumentId:
    """An instrument at a venue; prints as `binance:BTCUSDT`."""

    venue: Venue
    symbol: str

    def __hash__(self) -> int:
        # It is the key of nearly everything that is looked up; few symbols are at two venues.
        return hash(self.symbol)

    def __str__(self) -> str:
        return f"{self.venue}:{self.symbol}"

    @classmethod
    def parse(cls, text: str) -> InstrumentId:
        """Read `venue:symbol`.

        Raises
        ------
        ValueError
            If the text has no venue, an unknown one, or an empty symbol.
        """
        venue, colon, symbol = text.partition(":")
        if not colon or not symbol or venue not in set(Venue):
            known = ", ".join(Venue)
            raise ValueError(f"expected venue:symbol with a venue of {known}, was {text!r}")
        return cls(Venue(venue), symbol)


@dataclass(frozen=True, slots=True)
class InstrumentRules:
    """What the venue demands of an order, and what holding the instrument costs.

    Attributes
    ----------
    tick, lot : Decimal
        Smallest step of price and of quantity.
    minimum_notional : Decimal
        Smallest price x quantity of an order, in `currency`.
    currency : str
        Quote currency.
    base_currency : str or None
        What a unit is, where units are money themselves (`BTC` of BTCUSDT, `USD` of USD_JPY).
    shortable : bool
    borrow_bps_per_day : Decimal
        Cost of a short position.
    """

    tick: Decimal
    lot: Decimal
    minimum_notional: Decimal
    currency: str
    base_currency: str | None = None
    shortable: bool = False
    borrow_bps_per_day: Decimal = Decimal(0)


def balance_currency(instrument: InstrumentId, rules: InstrumentRules) -> str | None:
    """The currency whose balance at the venue is the instrument's position, and that fees may be taken in.

    Only on a spot market: units of foreign exchange are money, too, but held on margin, beside the
    balance of that currency.
    """
    return rules.base_currency if ASSET_CLASS_OF[instrument.venue] is AssetClass.CRYPTO else None


def balances(rules: Mapping[InstrumentId, InstrumentRules]) -> dict[str, InstrumentId]:
    """Currencies whose balance is the position of an instrument, as `balance_currency`."""
    return {
        currency: instrument
        for instrument, rule in rules.items()
        if (currency := balance_currency(instrument, rule)) is not None
    }
