"""Small plots as inline SVG, styled by the page: nothing is fetched for them."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT, MARGIN = 600.0, 120.0, 6.0


def sparkline(values: Sequence[float], label: str) -> Markup:
    """A line through the values, evenly spaced, first and last value at the edges.

    Parameters
    ----------
    values : Sequence of float
        Oldest first; with fewer than two there is nothing to draw.
    label : str
        What a person who cannot see it is told.
    """
    if len(values) < 2:
        return Markup("")
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = WIDTH / (len(values) - 1)

    def height(value: float) -> float:
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * ((value - low) / span if high > low else 0.5)

    points = " ".join(f"{k * step:.1f},{height(value):.1f}" for k, value in enumerate(values))
    first = height(values[0])
    return Markup(  # noqa: S704 - numbers of ours, and a label that is escaped
        f'<svg class="spark" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">'
        f'<polygon class="area" points="0,{HEIGHT:.0f} {points} {WIDTH:.0f},{HEIGHT:.0f}"/>'
        f'<line class="base" x1="0" x2="{WIDTH:.0f}" y1="{first:.1f}" y2="{first:.1f}"/>'
        f'<polyline points="{points}"/></svg>'
    )


def bar(value: float | None, scale: float, marks: Sequence[float], tone: str) -> Markup:
    """A bar from 0 to `scale`, longer values cut, with upright marks at thresholds.

    The number stands beside it: for screen readers the bar is decoration.
    """
    length = 100 * min(max(value or 0.0, 0.0), scale) / scale
    lines = "".join(
        f'<line class="mark" x1="{100 * m / scale:.1f}" x2="{100 * m / scale:.1f}" y1="0" y2="10"/>'
        for m in marks
    )
    return Markup(  # noqa: S704 - numbers of ours, and a tone that is escaped
        f'<svg class="bar {escape(tone)}" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect x="0" y="2" width="{length:.1f}" height="6"/>{lines}</svg>'
    )
