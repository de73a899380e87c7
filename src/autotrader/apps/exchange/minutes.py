"""What happens within a minute of which only the bar is known.

Price goes from the open to the extreme that the close is further from, to the other, to the close,
at even pace. Open bars, trades and order books all follow this one path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def corners(bar: Mapping[str, Any]) -> list[float]:
    """Open, one extreme, the other, close: prices at 0, 1/3, 2/3 and 1 of the minute."""
    extremes = ["low", "high"] if bar["close"] >= bar["open"] else ["high", "low"]
    return [bar[name] for name in ("open", *extremes, "close")]


def price_at(bar: Mapping[str, Any], elapsed: Floats) -> Floats:
    """Price on the path.

    Parameters
    ----------
    bar : Mapping
        `open`, `high`, `low`, `close`.
    elapsed : float64 array
        Share of the minute, in [0, 1].
    """
    return np.interp(elapsed, [0.0, 1 / 3, 2 / 3, 1.0], corners(bar))
