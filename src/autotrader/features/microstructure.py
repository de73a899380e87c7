"""Features of the order book and of single trades, where those are recorded.

Bars do not hold them, and an estimate from bars would be another quantity under the same name: so
they are not in the balanced set, and are computed from ticks and depth alone. Each value of trades
uses the trades given and no later one; each of the book uses one snapshot.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autotrader.domain.errors import BadData
from autotrader.features.compiled import entry_point

Floats = NDArray[np.float64]


def relative_spread(bid: Floats, ask: Floats) -> Floats:
    """(ask - bid) / mid, elementwise; NaN where a side is missing."""
    return np.asarray((ask - bid) / ((ask + bid) / 2))


def microprice(bid: Floats, ask: Floats, bid_size: Floats, ask_size: Floats) -> Floats:
    """Mid price weighted by the size on the other side, elementwise, in units of price.

    (bid x ask size + ask x bid size) / (bid size + ask size): Sasha Stoikov, The Micro-Price, 2018,
    first-order form. NaN where both sizes are 0.
    """
    total = bid_size + ask_size
    with np.errstate(invalid="ignore"):
        return np.asarray((bid * ask_size + ask * bid_size) / np.where(total == 0, np.nan, total))


def depth_imbalance(bid_sizes: Floats, ask_sizes: Floats) -> Floats:
    """(bid depth - ask depth) / their sum, from -1 to 1.

    Parameters
    ----------
    bid_sizes, ask_sizes : float64 arrays (..., levels)
        Sizes at the best levels; the last axis is summed.

    Returns
    -------
    float64 array (...)
        NaN where the book is empty.
    """
    bid, ask = bid_sizes.sum(axis=-1), ask_sizes.sum(axis=-1)
    total = bid + ask
    return np.asarray((bid - ask) / np.where(total == 0, np.nan, total))


def volume_synchronised_imbalance(
    quantity: Floats, buyer_took: NDArray[np.bool_], *, bucket: float, buckets: int = 50
) -> Floats:
    """VPIN: mean |bought - sold| of the last buckets of equal volume, as a share of their volume.

    Easley, Lopez de Prado, O'Hara, Flow Toxicity and Liquidity in a High-Frequency World, 2012;
    with the sides that the venue reports instead of estimated ones. A trade that overfills a bucket
    is split.

    Parameters
    ----------
    quantity : float64 array (n,)
        Of each trade, in order of time; not negative.
    buyer_took : bool array (n,)
        True where the buyer took liquidity.
    bucket : float
        Volume of a bucket.
    buckets : int
        Number of them that are averaged.

    Returns
    -------
    float64 array (n,)
        After each trade, over buckets that were full by then; NaN while there are fewer.

    Raises
    ------
    BadData
        If the arrays differ in length, or a quantity is negative or NaN.
    """
    _require_same_length(quantity, buyer_took)
    if bucket <= 0 or buckets < 1:
        raise ValueError(f"expected a positive bucket and count, was {bucket} and {buckets}")
    if not (quantity >= 0).all():
        raise BadData("expected quantities of 0 or more, was negative or NaN: quarantine those trades")
    out = np.empty(quantity.size)
    _fill_vpin(
        np.ascontiguousarray(quantity), np.ascontiguousarray(buyer_took), bucket, np.zeros(buckets), out
    )
    return out


def kyle_lambda(price: Floats, quantity: Floats, buyer_took: NDArray[np.bool_]) -> float:
    """Price impact: slope of the price change of each trade on its signed quantity.

    Albert S. Kyle, Continuous Auctions and Insider Trading, 1985; by least squares over the trades
    given, in price a unit of quantity. NaN with fewer than 3 trades or without variation.

    Raises
    ------
    BadData
        If the arrays differ in length.
    """
    _require_same_length(price, quantity, buyer_took)
    if price.size < 3:
        return float("nan")
    change = np.diff(price)
    signed = np.where(buyer_took, quantity, -quantity)[1:]
    centred = signed - signed.mean()
    variation = float((centred**2).sum())
    return float((centred * change).sum() / variation) if variation > 0 else float("nan")


def amihud_illiquidity(price: Floats, quantity: Floats, *, span: int) -> Floats:
    """|log return| over the money traded, for each run of `span` trades.

    Yakov Amihud, Illiquidity and Stock Returns, 2002, on trade time instead of days, in log return a
    unit of quote currency.

    Returns
    -------
    float64 array (n // span,)
        Of trades [k span, (k + 1) span); the return runs from the run's first to its last price. NaN
        where nothing was paid.

    Raises
    ------
    BadData
        If the arrays differ in length.
    """
    _require_same_length(price, quantity)
    runs = price.size // span
    prices = price[: runs * span].reshape(runs, span)
    paid = (prices * quantity[: runs * span].reshape(runs, span)).sum(axis=1)
    moved = np.abs(np.log(prices[:, -1] / prices[:, 0])) if runs else np.empty(0)
    return np.asarray(moved / np.where(paid == 0, np.nan, paid))


def _require_same_length(*arrays: NDArray[np.generic]) -> None:
    sizes = [a.size for a in arrays]
    if len(set(sizes)) > 1:
        raise BadData(f"expected a value a trade in every array, was {sizes} of them")


@entry_point
def _fill_vpin(
    quantity: Floats, buyer_took: NDArray[np.bool_], bucket: float, imbalances: Floats, out: Floats
) -> None:
    full = 0
    bought = sold = 0.0
    for i in range(quantity.size):
        left = quantity[i]
        while left > 0.0:
            room = bucket - bought - sold
            part = min(left, room)
            if buyer_took[i]:
                bought += part
            else:
                sold += part
            left -= part
            if part == room:
                imbalances[full % imbalances.size] = abs(bought - sold)
                full += 1
                bought = sold = 0.0
        if full < imbalances.size:
            out[i] = np.nan
        else:
            out[i] = imbalances.sum() / (imbalances.size * bucket)
