"""What the exchange says of its symbols, and holds orders to: assets, steps, smallest orders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from autotrader.apps.exchange.answers import Refused
from autotrader.apps.exchange.market import Market

LARGEST_PRICE, LARGEST_QUANTITY, LARGEST_NOTIONAL = Decimal(1_000_000), Decimal(9_000_000), Decimal(9_000_000)
MINIMUM_NOTIONAL = Decimal(5)
_QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY")
_SYMBOL = re.compile(r"[A-Z0-9-_.]{1,20}")


class Symbols:
    """The symbols of a market.

    Parameters
    ----------
    market : Market
    """

    def __init__(self, market: Market) -> None:
        self._market = market
        self._steps = lru_cache(None)(market.steps)

    @property
    def names(self) -> Sequence[str]:
        return self._market.symbols

    def known(self, symbol: str) -> str:
        """The symbol itself.

        Raises
        ------
        Refused
            If the market does not have it.
        """
        if not _SYMBOL.fullmatch(symbol):
            raise Refused(
                -1100,
                "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'.",
            )
        if symbol not in self._market.symbols:
            raise Refused(-1121, "Invalid symbol.")
        return symbol

    def grid(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Tick and lot."""
        tick, lot = self._steps(symbol)
        return Decimal(f"{tick:.8f}"), Decimal(f"{lot:.8f}")

    def check(self, symbol: str, quantity: Decimal, price: Decimal, *, at_market: bool) -> None:
        """Hold an order to the filters.

        Parameters
        ----------
        price : Decimal
            The limit, or where the market stands.

        Raises
        ------
        Refused
            With the first filter that it fails.
        """
        tick, lot = self.grid(symbol)
        if not at_market and (price % tick or not tick <= price <= LARGEST_PRICE):
            raise Refused(-1013, "Filter failure: PRICE_FILTER")
        if quantity % lot or not lot <= quantity <= LARGEST_QUANTITY:
            raise Refused(-1013, "Filter failure: LOT_SIZE")
        if not MINIMUM_NOTIONAL <= quantity * price <= LARGEST_NOTIONAL:
            raise Refused(-1013, "Filter failure: NOTIONAL")

    def info(self, symbol: str) -> dict[str, Any]:
        """The symbol's part of the exchange information."""
        base, quote = assets(symbol)
        return {
            "symbol": symbol,
            "status": "TRADING",
            "baseAsset": base,
            "baseAssetPrecision": 8,
            "quoteAsset": quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "orderTypes": ["LIMIT", "MARKET"],
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": self._filters(symbol),
            "permissions": [],
            "permissionSets": [["SPOT"]],
        }

    def _filters(self, symbol: str) -> list[dict[str, Any]]:
        tick, lot = (f"{step:.8f}" for step in self.grid(symbol))
        largest = f"{LARGEST_QUANTITY:.8f}"
        return [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": f"{LARGEST_PRICE:.8f}",
                "tickSize": tick,
            },
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": largest, "stepSize": lot},
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": "0.00000000",
                "maxQty": largest,
                "stepSize": "0.00000000",  # the venue's way to say that LOT_SIZE is all there is
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": f"{MINIMUM_NOTIONAL:.8f}",
                "applyMinToMarket": True,
                "maxNotional": f"{LARGEST_NOTIONAL:.8f}",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
        ]


def assets(symbol: str) -> tuple[str, str]:
    """Base and quote asset; a symbol that ends in no known quote is its own base."""
    quote = next((q for q in _QUOTES if symbol.endswith(q) and symbol != q), "")
    return symbol.removesuffix(quote) if quote else symbol, quote
