"""Every feature once more, slowly: one row at a time, in long double, straight from its formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from numpy.typing import NDArray

Wide = NDArray[np.longdouble]
Bars = Mapping[str, Wide]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def columns(bars: pl.DataFrame) -> dict[str, Wide]:
    names = ("high", "low", "close", "volume", "taker_buy_base")
    wide = {
        n: bars[n].cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.longdouble) for n in names
    }
    return wide | {"ts": bars["ts"].to_physical().to_numpy()}


def _averaged(series: Wide, decay: np.longdouble, bars: int) -> np.longdouble:
    weights = decay ** np.arange(bars - 1, -1, -1).astype(np.longdouble)
    return (series[-bars:] * weights).sum() / weights.sum()


def _ema(series: Wide, span: int, bars: int) -> np.longdouble:
    return _averaged(series, 1 - np.longdouble(2) / (span + 1), bars)


def _line(close: Wide, i: int) -> np.longdouble:
    return _ema(close[: i + 1], 12, 208) - _ema(close[: i + 1], 26, 208)


def _signal(b: Bars, i: int) -> np.longdouble:
    return _ema(np.array([_line(b["close"], k) for k in range(i - 71, i + 1)]), 9, 72) / b["close"][i]


def _rsi(b: Bars, i: int) -> np.longdouble:
    step = np.diff(b["close"][i - 208 : i + 1])
    decay = 1 - np.longdouble(1) / 14
    up, down = (_averaged(np.maximum(sign * step, 0), decay, 208) for sign in (1, -1))
    return 100 * up / (up + down) if up + down else np.longdouble(50)


def _atr(b: Bars, i: int) -> np.longdouble:
    high, low = b["high"][i - 207 : i + 1], b["low"][i - 207 : i + 1]
    before = b["close"][i - 208 : i]
    true_range = np.maximum(high - low, np.maximum(abs(high - before), abs(low - before)))
    return _averaged(true_range, 1 - np.longdouble(1) / 14, 208) / b["close"][i]


def _bollinger(sign: int) -> Callable[[Bars, int], np.longdouble]:
    def distance(b: Bars, i: int) -> np.longdouble:
        window = b["close"][i - 19 : i + 1]
        return sign * (window.mean() + sign * 2 * window.std() - window[-1]) / window[-1]

    return distance


def _changes(b: Bars, i: int, w: int) -> Wide:
    return np.diff(np.log(b["close"][i - w : i + 1]))


def _z_score(b: Bars, i: int, w: int) -> np.longdouble:
    window = b["close"][i - w + 1 : i + 1]
    deviation = window.std(ddof=1)
    return (window[-1] - window.mean()) / deviation if deviation else np.longdouble(0)


def _percentile(b: Bars, i: int, w: int) -> float:
    window = b["close"][i - w + 1 : i + 1]
    below, equal = (window < window[-1]).sum(), (window == window[-1]).sum()
    return float(below + (equal + 1) / 2) / w


def _parkinson(b: Bars, i: int, w: int) -> np.longdouble:
    ranges = np.log(b["high"][i - w + 1 : i + 1] / b["low"][i - w + 1 : i + 1])
    return np.sqrt((ranges**2).mean() / (4 * np.log(np.longdouble(2))))


def _vwap(b: Bars, i: int) -> np.longdouble:
    high, low, close, volume = (b[n][i - 49 : i + 1] for n in ("high", "low", "close", "volume"))
    return close[-1] / (((high + low + close) / 3 * volume).sum() / volume.sum()) - 1


def _obv_slope(b: Bars, i: int) -> np.longdouble:
    close, volume = b["close"][i - 19 : i + 1], b["volume"][i - 19 : i + 1]
    balance = np.concatenate([[0], np.cumsum(np.sign(np.diff(close)) * volume[1:])])
    time = np.arange(20) - np.longdouble(19) / 2
    return (time * balance).sum() / (time**2).sum() / volume.mean()


def _taker(b: Bars, i: int) -> np.longdouble:
    return b["taker_buy_base"][i - 19 : i + 1].sum() / b["volume"][i - 19 : i + 1].sum()


def _volatility_regime(b: Bars, i: int) -> float:
    short, long = (_changes(b, i, w).std(ddof=1) for w in (20, 200))
    return float(short > 1.25 * long) - float(short < 0.75 * long)


def _trend_regime(b: Bars, i: int) -> float:
    total, deviation = _changes(b, i, 200).sum(), _changes(b, i, 200).std(ddof=1)
    return float(np.sign(total)) if abs(total) > deviation * math.sqrt(200) else 0.0


def _when(b: Bars, i: int) -> datetime:
    return EPOCH + timedelta(microseconds=int(b["ts"][i]))


def _circle(
    part: Callable[[float], float], value: Callable[[datetime], int], period: int
) -> Callable[..., float]:
    return lambda b, i: part(2 * math.pi * value(_when(b, i)) / period)


def _session(zone: str, start: int) -> Callable[[Bars, int], float]:
    def within(b: Bars, i: int) -> float:
        local = _when(b, i).astimezone(ZoneInfo(zone))
        return float(local.weekday() < 5 and start <= local.hour < start + 9)

    return within


FORMULAS: dict[str, Callable[[Bars, int], float | np.longdouble]] = {
    "rsi_14": _rsi,
    "macd_line": lambda b, i: _line(b["close"], i) / b["close"][i],
    "macd_signal": _signal,
    "macd_histogram": lambda b, i: _line(b["close"], i) / b["close"][i] - _signal(b, i),
    "bollinger_upper_distance": _bollinger(1),
    "bollinger_lower_distance": _bollinger(-1),
    "atr_14": _atr,
    "vwap_distance_50": _vwap,
    "obv_slope_20": _obv_slope,
    "taker_buy_share_20": _taker,
    "volatility_regime": _volatility_regime,
    "trend_regime": _trend_regime,
    "session_asia": _session("Asia/Tokyo", 9),
    "session_london": _session("Europe/London", 8),
    "session_new_york": _session("America/New_York", 8),
}
for _w in (20, 50, 200):
    FORMULAS |= {
        f"log_return_{_w}": lambda b, i, w=_w: np.log(b["close"][i] / b["close"][i - w]),
        f"simple_return_{_w}": lambda b, i, w=_w: b["close"][i] / b["close"][i - w] - 1,
        f"volatility_{_w}": lambda b, i, w=_w: _changes(b, i, w).std(ddof=1),
        f"parkinson_volatility_{_w}": lambda b, i, w=_w: _parkinson(b, i, w),
        f"percentile_{_w}": lambda b, i, w=_w: _percentile(b, i, w),
        f"zscore_{_w}": lambda b, i, w=_w: _z_score(b, i, w),
    }
_CLOCK: dict[str, tuple[Callable[[datetime], int], int]] = {
    "hour": (lambda t: t.hour, 24),
    "minute": (lambda t: t.minute, 60),
    "day_of_week": (lambda t: t.weekday(), 7),
}
for _name, (_value, _period) in _CLOCK.items():
    FORMULAS[_name] = lambda b, i, value=_value: float(value(_when(b, i)))
    FORMULAS[f"{_name}_sin"] = _circle(math.sin, _value, _period)
    FORMULAS[f"{_name}_cos"] = _circle(math.cos, _value, _period)
