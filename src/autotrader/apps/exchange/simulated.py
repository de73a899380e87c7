"""A simulated market: seeded, deterministic, and like a real one where it matters to a model.

What is in it: regimes (calm, trending, stressed), volatility that clusters over minutes and days,
fat tails, a factor common to all symbols, more volume and more movement in the hours of Europe and
America and on weekdays, volume that comes with movement, order flow that comes with price. What is
not: order books, single trades, microstructure.

With a planted signal, the order flow of past bars moves the price of later ones, so that a model
that looks at taker-buy shares can know a set share of the next hour's return. Without it, returns
cannot be predicted from the past (but their size can).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from autotrader.apps.exchange.market import CANDLES
from autotrader.domain.bars import require_utc
from autotrader.domain.errors import NotFound

Floats = npt.NDArray[np.float64]

MINUTES_PER_DAY = 1440
SIGNAL_HORIZON = 60  # bars over which the planted signal's share is defined
SIGNAL_HALF_LIFE = 120.0  # bars
DEGREES_OF_FREEDOM = 5.0  # of Student's t: a kurtosis of 9
COMMON_SHARE = 0.5  # of the variance of returns, shared by all symbols

# Regimes: calm, trending, stressed. Drift is in standard deviations of a bar, its sign random.
REGIME_MEAN_MINUTES = np.array([2880.0, 1440.0, 360.0])
REGIME_VOLATILITY = np.array([0.75, 1.0, 2.2])
REGIME_DRIFT = np.array([0.0, 0.01, 0.0])


@dataclass(frozen=True)
class SimulatedMarket:
    """Bars that follow from the parameters alone.

    Parameters
    ----------
    symbols : Sequence of str
    seed : int
    end : datetime
        Close of the newest bar, UTC.
    days : int
        Length of the history. Another `days`, `end` or `seed` is another market.
    planted_signal : float
        Share of the variance of the return over the next 60 bars that past order flow explains,
        in units of each bar's own volatility; in [0, 1]. What is feasible is less than 1: beyond
        that, as much as is feasible.
    """

    symbols: Sequence[str]
    seed: int
    end: datetime
    days: int
    planted_signal: float = 0.0

    source = "SIMULATED"

    def __post_init__(self) -> None:
        require_utc(self.end, name="end")

    @property
    def start(self) -> datetime:
        return self.end - timedelta(days=self.days)

    def candles(self, symbol: str) -> pl.DataFrame:
        if symbol not in self.symbols:
            raise NotFound(f"expected one of {', '.join(self.symbols)}, was {symbol}")
        rng = self._generator(symbol)
        n = self.days * MINUTES_PER_DAY
        first_price = _first_price(rng)
        daily_volatility = rng.uniform(0.015, 0.03)
        turnover = 10.0 ** rng.uniform(5.0, 6.0)  # mean quote volume of a bar

        regime = _regimes(rng, n)
        clusters = 0.30 * _autoregression(rng, n, 30.0) + 0.30 * _autoregression(rng, n, 1440.0)
        spread = REGIME_VOLATILITY[regime] * np.exp(clusters - 0.09) * np.sqrt(self._activity)
        sigma = daily_volatility / math.sqrt(MINUTES_PER_DAY) * spread

        shock = math.sqrt(COMMON_SHARE) * self._common_shock
        shock = shock + math.sqrt(1 - COMMON_SHARE) * _fat_tailed(rng, n)
        flow = _autoregression(rng, n, SIGNAL_HALF_LIFE)
        known = np.concatenate(([0.0], flow[:-1]))
        beta = _planted_weight(self.planted_signal)
        z = _drift(rng, regime) + beta * known + math.sqrt(1 - beta * beta) * shock

        price = _prices(rng, first_price, sigma * z, sigma)
        taker_share = 0.5 + 0.06 * flow + 0.03 * shock + 0.03 * rng.standard_normal(n)
        share = np.clip(taker_share, 0.02, 0.98)
        volume = _volumes(rng, turnover, self._activity, spread, z, share, price, first_price)
        minute = pl.Series("ts", self._minutes * 60_000_000, dtype=pl.Int64).cast(CANDLES["ts"])
        return pl.DataFrame({"ts": minute, **price, **volume}, schema=CANDLES)

    def steps(self, symbol: str) -> tuple[float, float]:
        first_price = _first_price(self._generator(symbol))
        return 10.0 ** -_price_decimals(first_price), 10.0 ** -_volume_decimals(first_price)

    def _generator(self, symbol: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(symbol.encode())])

    @cached_property
    def _minutes(self) -> npt.NDArray[np.int64]:
        first = int((self.start - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) // 60
        return np.arange(first, first + self.days * MINUTES_PER_DAY, dtype=np.int64)

    @cached_property
    def _common_shock(self) -> Floats:
        return _fat_tailed(np.random.default_rng([self.seed]), self.days * MINUTES_PER_DAY)

    @cached_property
    def _activity(self) -> Floats:
        """How busy each minute is by the clock; 1 on average over a week."""
        hour = self._minutes / 60.0 % 24.0
        weekday = (self._minutes // MINUTES_PER_DAY + 3) % 7  # 1970-01-01 was a Thursday
        europe = np.exp(-0.5 * ((hour - 8.5) / 2.0) ** 2)
        america = np.exp(-0.5 * ((hour - 15.0) / 2.5) ** 2)
        activity: Floats = (0.7 + 0.5 * europe + 0.9 * america) * np.where(weekday >= 5, 0.6, 1.16)
        return activity / 1.10


def _first_price(rng: np.random.Generator) -> float:
    return float(10.0 ** rng.uniform(0.0, 4.5))


def _price_decimals(first_price: float) -> int:
    return max(0, 5 - math.floor(math.log10(first_price)))


def _volume_decimals(first_price: float) -> int:
    return min(5, round(math.log10(first_price)) + 1)


def _regimes(rng: np.random.Generator, n: int) -> npt.NDArray[np.int64]:
    """Regime of each bar; a new regime always differs from the last."""
    count = int(n / REGIME_MEAN_MINUTES.min()) + 10
    states = np.cumsum(rng.integers(1, 3, count)) % 3
    lengths = np.maximum(1, rng.exponential(REGIME_MEAN_MINUTES[states])).astype(np.int64)
    sequence = np.repeat(states, np.minimum(lengths, n))[:n]
    return np.pad(sequence, (0, n - len(sequence)), mode="edge")


def _drift(rng: np.random.Generator, regime: npt.NDArray[np.int64]) -> Floats:
    """Drift of each bar; its sign is drawn anew where a regime begins."""
    run = np.concatenate(([0], np.cumsum(np.diff(regime) != 0)))
    signs = rng.choice([-1.0, 1.0], size=int(run[-1]) + 1)
    drift: Floats = REGIME_DRIFT[regime] * signs[run]
    return drift


def _autoregression(rng: np.random.Generator, n: int, half_life: float) -> Floats:
    """A stationary AR(1) series of unit variance whose memory halves every `half_life` bars."""
    alpha = 1.0 - 0.5 ** (1.0 / half_life)
    noise = rng.standard_normal(n)
    stationary = math.sqrt(alpha / (2.0 - alpha))
    noise[0] *= stationary
    return pl.Series(noise).ewm_mean(alpha=alpha, adjust=False).to_numpy() / stationary


def _fat_tailed(rng: np.random.Generator, n: int) -> Floats:
    """Student's t, scaled to unit variance."""
    df = DEGREES_OF_FREEDOM
    return rng.standard_t(df, n) * math.sqrt((df - 2.0) / df)


def _planted_weight(share: float) -> float:
    """Weight b of the known flow x in a bar's return b x + sqrt(1 - b^2) e.

    With x an AR(1) of coefficient p, the return over h bars has the predictable part
    b x A, A = (1 - p^h) / (1 - p), and the variance b^2 V + (1 - b^2) h, where V is the variance of
    the sum of h values of x. Solved for the b that makes the predictable share of it `share`.
    """
    p, h = 0.5 ** (1.0 / SIGNAL_HALF_LIFE), SIGNAL_HORIZON
    a2 = ((1 - p**h) / (1 - p)) ** 2
    v = h + 2 * sum((h - k) * p**k for k in range(1, h))
    share = min(share, a2 / v)
    return math.sqrt(share * h / (a2 - share * v + share * h))


def _prices(rng: np.random.Generator, first: float, returns: Floats, sigma: Floats) -> dict[str, Floats]:
    """Open, high, low, close on the tick grid; a bar opens where the last one closed.

    Extremes are those of a Brownian bridge from open to close: its maximum over a step r with
    standard deviation s is (r + sqrt(r^2 - 2 s^2 ln U)) / 2 (Glasserman, "Monte Carlo Methods in
    Financial Engineering", 2004, section 6.4).
    """
    n = len(returns)
    path = math.log(first) + np.concatenate(([0.0], np.cumsum(returns)))
    decimals = _price_decimals(first)
    tick = 10.0**-decimals
    reach = -2.0 * sigma**2
    up = 0.5 * (returns + np.sqrt(returns**2 + reach * np.log(rng.uniform(size=n))))
    down = 0.5 * (returns - np.sqrt(returns**2 + reach * np.log(rng.uniform(size=n))))
    level = np.maximum(np.round(np.exp(path), decimals), tick)
    opened, closed = level[:-1], level[1:]
    high = np.round(np.exp(path[:-1] + up), decimals)
    low = np.maximum(np.round(np.exp(path[:-1] + down), decimals), tick)
    return {
        "open": opened,
        "high": np.maximum(high, np.maximum(opened, closed)),
        "low": np.minimum(low, np.minimum(opened, closed)),
        "close": closed,
    }


def _volumes(
    rng: np.random.Generator,
    turnover: float,
    activity: Floats,
    spread: Floats,
    z: Floats,
    taker_share: Floats,
    price: dict[str, Floats],
    first_price: float,
) -> dict[str, npt.NDArray[np.generic]]:
    """Volume, turnover, trades and taker shares that agree with one another."""
    n = len(z)
    quiet = np.exp(0.6 * _autoregression(rng, n, 45.0) - 0.18)
    expected = turnover * activity * quiet * spread**0.8 * (0.5 + 0.6 * np.abs(z))
    typical = (price["open"] + price["high"] + price["low"] + price["close"]) / 4.0
    decimals = _volume_decimals(first_price)
    lot = 10.0**-decimals
    volume = np.maximum(np.round(expected / typical, decimals), lot)
    taker = np.round(volume * taker_share, decimals)
    trades = np.maximum(1, rng.poisson(np.minimum(expected / 1500.0, 1e6)))
    return {
        "volume": volume,
        "quote_volume": np.round(volume * typical, 8),
        "trade_count": trades.astype(np.int64),
        "taker_buy_base": taker,
        "taker_buy_quote": np.round(taker * typical, 8),
    }
