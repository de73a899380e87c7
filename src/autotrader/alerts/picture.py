"""Equity over time as a picture: on paper's white, so that it reads the same in every mail program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from io import BytesIO

_MOST_POINTS = 240  # wider than the picture has room for; it travels between two steps


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Equity at one instant of market time; `drawdown` is the fraction below the peak."""

    at: datetime
    equity: Decimal
    drawdown: float


def thinned(points: Sequence[CurvePoint]) -> tuple[CurvePoint, ...]:
    """Few enough for a picture: first and last, and the lowest and the highest of each stretch between."""
    if len(points) <= _MOST_POINTS:
        return tuple(points)
    stretches = _MOST_POINTS // 2 - 1
    kept = {0, len(points) - 1}
    for number in range(stretches):
        span = range(number * len(points) // stretches, (number + 1) * len(points) // stretches)
        kept |= {min(span, key=lambda i: points[i].equity), max(span, key=lambda i: points[i].equity)}
    return tuple(points[i] for i in sorted(kept))


def equity_png(
    points: Sequence[CurvePoint], *, title: str, currency: str, inches: tuple[float, float] = (6.6, 3.2)
) -> bytes:
    """Equity, and how far it is below its peak, as a PNG."""
    from matplotlib.figure import Figure

    at = [point.at for point in points]
    figure = Figure(figsize=inches, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot(at, [float(point.equity) for point in points], linewidth=1.2, color="#1f5fa8")
    above.set_ylabel(f"equity, {currency}")
    # A dollar would begin a formula.
    above.set_title(title.replace("$", r"\$"), loc="left", fontsize=10)
    above.grid(visible=True, alpha=0.3)
    below.fill_between(at, [-100 * point.drawdown for point in points], color="#b3412f", alpha=0.6)
    below.set_ylabel("drawdown, %", fontsize=8)
    below.grid(visible=True, alpha=0.3)
    below.tick_params(axis="x", labelrotation=20, labelsize=8)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=120, format="png")
    return drawn.getvalue()
