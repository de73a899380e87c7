"""Small random markets for tests of the execution model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autotrader.execution.arrays import Floats, Times

MINUTE = np.timedelta64(1, "m")


@dataclass(frozen=True)
class Market:
    ts: Times
    open: Floats
    close: Floats
    volume: Floats

    @property
    def bars(self) -> tuple[Times, Floats, Floats, Floats]:
        return self.ts, self.open, self.close, self.volume


def minutes(n: int) -> Times:
    return np.datetime64("2024-02-01T00:00", "us") + np.arange(n) * MINUTE


def random_market(seed: int, n: int = 200, *, holes: bool = False, silent: bool = False) -> Market:
    """A random walk; with holes in its clock and bars without a trade where asked."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, n)))
    open_ = np.concatenate(([100.0], close[:-1])) * np.exp(rng.normal(0, 0.0005, n))
    volume = rng.uniform(1, 50, n)
    if silent:
        volume[rng.random(n) < 0.2] = 0.0
    ts = minutes(n * 2)
    if holes:
        ts = np.sort(rng.choice(ts, n, replace=False))
    return Market(ts[:n], open_, close, volume)


def random_targets(seed: int, n: int = 200) -> Floats:
    """Targets that change now and then: long, short, flat and in between."""
    rng = np.random.default_rng(seed + 1)
    changes = rng.random(n) < 0.15
    values = rng.choice([-1.0, -0.4, 0.0, 0.0, 0.3, 1.0], n)
    rows = np.maximum.accumulate(np.where(changes, np.arange(n), 0))
    return np.where(np.maximum.accumulate(changes), values[rows], 0.0)
