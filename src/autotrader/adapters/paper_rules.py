"""What the paper venue demands of orders, judged by the prices it sees.

A venue's own rules need the venue; these are like them: a tick as fine as the prices are written, and
a lot that is worth about a unit of money.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal

from autotrader.domain.errors import BadData
from autotrader.domain.instruments import ASSET_CLASS_OF, AssetClass, InstrumentId, InstrumentRules
from autotrader.execution.strategy import SHORTABLE
from autotrader.trading.bars import exact

# Longest first: BTCFDUSD is not a pair of BTCFD with USD.
_QUOTES = ("FDUSD", "USDT", "USDC", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "USD")
_MINIMUM_NOTIONAL = {
    AssetClass.CRYPTO: Decimal(5),
    AssetClass.EQUITY: Decimal(1),
    AssetClass.FX: Decimal(1),
}


def assumed_rules(instrument: InstrumentId, prices: Iterable[float]) -> InstrumentRules:
    """Rules for an instrument whose prices look like these.

    Parameters
    ----------
    prices : iterable of float
        Above zero, at least one.

    Raises
    ------
    BadData
        If there is no price.
    """
    seen = [exact(price) for price in prices]
    if not seen:
        raise BadData(f"expected prices of {instrument} to assume its rules from, were none: load its bars")
    asset = ASSET_CLASS_OF[instrument.venue]
    decimals = max(-int(price.normalize().as_tuple().exponent) for price in seen)
    tick = Decimal(1).scaleb(-max(decimals, 0))
    lot = Decimal(1)
    if asset is AssetClass.CRYPTO:
        lot = Decimal(1).scaleb(-max(0, math.ceil(math.log10(float(seen[-1])))))
    base, quote = currencies(instrument)
    return InstrumentRules(
        tick=tick,
        lot=lot,
        minimum_notional=_MINIMUM_NOTIONAL[asset],
        currency=quote,
        base_currency=base,
        shortable=asset in SHORTABLE,
    )


def currencies(instrument: InstrumentId) -> tuple[str | None, str]:
    """What a unit is, where it is money itself, and what it is paid in."""
    asset = ASSET_CLASS_OF[instrument.venue]
    if asset is AssetClass.FX:
        base, _, quote = instrument.symbol.partition("_")
        return base, quote
    if asset is AssetClass.EQUITY:
        return None, "USD"
    for quote in _QUOTES:
        if instrument.symbol.endswith(quote) and instrument.symbol != quote:
            return instrument.symbol.removesuffix(quote), quote
    raise BadData(f"expected a pair that ends in one of {', '.join(_QUOTES)}, was {instrument.symbol}")
