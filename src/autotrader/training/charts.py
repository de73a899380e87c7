"""Charts of a model report, as SVG that follows the page's light or dark colours.

Colours are drawn as placeholders and replaced by the page's CSS variables, so that one picture fits
both. The same figures give the same bytes.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

# Placeholder to CSS variable; no picture uses these colours for anything else.
_COLOURS = {
    "ink": "#010101",
    "muted": "#020202",
    "grid": "#030303",
    "model": "#040404",
    "flat": "#050505",
    "buy_and_hold": "#060606",
    "shuffled_labels": "#070707",
    "champion": "#080808",
    "loss": "#090909",
    "rise": "#0a0a0a",
    "fall": "#0b0b0b",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.edgecolor": _COLOURS["grid"],
    "axes.labelcolor": _COLOURS["muted"],
    "axes.titlecolor": _COLOURS["ink"],
    "text.color": _COLOURS["ink"],
    "xtick.color": _COLOURS["muted"],
    "ytick.color": _COLOURS["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _COLOURS["grid"],
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
_POINTS = 1_500
_YEAR_SHOWN_DAYS = 180
_CALIBRATION_BINS = 10


def equity_chart(curves: Mapping[str, tuple[Times, Floats]]) -> str:
    """Net growth of all paths, and below it how far the leading one is under its peak.

    Parameters
    ----------
    curves : Mapping[str, tuple]
        By name: bar opens, and equity as a multiple of the capital. `model` leads where it is
        among them, else the last.
    """
    leading = "model" if "model" in curves else list(curves)[-1]
    with _drawing("equity", height=4.6) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.2])
        for name in sorted(curves, key=lambda n: n == leading):
            ts, equity = _thinned(*curves[name])
            front = name == leading
            upper.plot(
                ts,
                100 * (equity - 1),
                color=_COLOURS[name],
                linewidth=1.9 if front else 1.2,
                linestyle=":" if name == "flat" else "-",
                label=name.replace("_", " "),
            )
        upper.set_ylabel("net return, %")
        handles, labels = upper.get_legend_handles_labels()
        upper.legend(handles[::-1], labels[::-1], loc="lower left", bbox_to_anchor=(0, 1), ncols=5)
        ts, equity = _thinned(*curves[leading])
        peak = np.maximum.accumulate(np.concatenate(([1.0], equity)))[1:]
        below = 100 * (equity / peak - 1)
        lower.fill_between(ts, below, 0, color=_COLOURS["loss"], alpha=0.35, linewidth=0)
        lower.plot(ts, below, color=_COLOURS["loss"], linewidth=0.9)
        lower.set_ylabel("drawdown, %")
        lower.set_ylim(min(float(np.min(below)) * 1.1, -0.1), 0)
        _date_axis(lower, ts)
        return _svg(figure)


def calibration_chart(probabilities: Floats, label: NDArray[np.int8]) -> str:
    """How often what was forecast with a probability happened, for rises and for falls.

    Points are tenths of the rows; bars are 95 % intervals (Wilson 1927) that take rows as
    independent, which overlapping labels are not: read them as the least there is.
    """
    with _drawing("calibration", height=3.6, width=5.0) as figure:
        axes = figure.subplots()
        highest = 0.0
        for name, column, outcome in (("rise", 2, 1), ("fall", 0, -1)):
            x, y, error = _reliability(probabilities[:, column], label == outcome)
            axes.errorbar(
                x, y, yerr=error, color=_COLOURS[name], marker="o", markersize=4, linewidth=1.3,
                elinewidth=0.9, label=name,
            )  # fmt: skip
            highest = max(highest, float(np.max(x)), float(np.max(y + error[1])))
        top = min(1.0, np.ceil(highest * 10) / 10)
        axes.plot([0, top], [0, top], color=_COLOURS["muted"], linewidth=0.9, linestyle="--", label="perfect")
        axes.set(xlim=(0, top), ylim=(0, top), xlabel="forecast probability", ylabel="how often it happened")
        axes.legend(loc="upper left")
        return _svg(figure)


def importance_chart(importance: Mapping[str, float], *, most: int = 15) -> str:
    """The features that the model uses most."""
    chosen = sorted(importance, key=lambda name: importance[name])[-most:]
    with _drawing("importance", height=3.6, width=5.0) as figure:
        axes = figure.subplots()
        axes.barh(chosen, [100 * importance[name] for name in chosen], color=_COLOURS["model"], height=0.68)
        axes.set_xlabel("share of what the model uses, %")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        return _svg(figure)


def trials_chart(trials: Mapping[str, Sequence[tuple[int, float, bool]]]) -> str:
    """Skill of every trial that has one, in the order of its family's search.

    Parameters
    ----------
    trials : Mapping[str, sequence of tuple]
        Family to number, skill, and whether it was completed (else pruned).
    """
    from matplotlib.ticker import MaxNLocator

    families = list(trials)
    tones = dict(zip(families, ["model", "buy_and_hold", "champion", "shuffled_labels"], strict=False))
    with _drawing("trials", height=2.6) as figure:
        axes = figure.subplots()
        for family in families:
            colour = _COLOURS[tones.get(family, "muted")]
            for complete, ending in ((True, ""), (False, ", pruned")):
                points = [(n, 100 * skill) for n, skill, done in trials[family] if done is complete]
                if points:
                    axes.scatter(
                        [x for x, _ in points],
                        [y for _, y in points],
                        s=30,
                        color=colour if complete else "none",
                        edgecolors=colour,
                        label=family.replace("_", " ") + ending,
                    )
        axes.axhline(0, color=_COLOURS["muted"], linewidth=0.8)
        axes.set(xlabel="trial", ylabel="log-loss skill, %")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return _svg(figure)


@contextlib.contextmanager
def _drawing(name: str, *, height: float, width: float = 10.2) -> Iterator[Figure]:
    """A transparent figure in our style, whose identifiers no other picture on the page shares."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        yield Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    for name, colour in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{name.replace('_', '-')})")
    svg = re.sub(
        r'(<svg[^>]*?) width="[^"]*" height="[^"]*"|(<svg[^>]*?) height="[^"]*" width="[^"]*"',
        r"\1\2",
        svg,
        count=1,
    )
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 system-ui, sans-serif", svg)


def _date_axis(axes: Axes, ts: Times) -> None:
    from matplotlib.dates import AutoDateLocator, DateFormatter

    span_days = (ts[-1] - ts[0]) / np.timedelta64(1, "D")
    axes.xaxis.set_major_locator(AutoDateLocator(minticks=4, maxticks=9))  # type: ignore[no-untyped-call]
    shape = "%d %b" if span_days < _YEAR_SHOWN_DAYS else "%b %Y"
    axes.xaxis.set_major_formatter(DateFormatter(shape))  # type: ignore[no-untyped-call]
    axes.set_xlim(ts[0], ts[-1])


def _thinned(ts: Times, equity: Floats) -> tuple[Times, Floats]:
    """Few enough points for a picture, the first, the last and every extreme step's end kept."""
    if len(ts) <= _POINTS:
        return ts, equity
    edges = np.linspace(0, len(ts), _POINTS // 2 + 1).astype(np.int64)
    keep = {0, len(ts) - 1}
    for begin, end in itertools.pairwise(edges.tolist()):
        part = equity[begin:end]
        keep |= {begin + int(np.argmin(part)), begin + int(np.argmax(part))}
    chosen = np.array(sorted(keep))
    return ts[chosen], equity[chosen]


def _reliability(probability: Floats, happened: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    groups = np.array_split(np.argsort(probability, kind="stable"), min(_CALIBRATION_BINS, len(probability)))
    x = np.array([probability[g].mean() for g in groups])
    share = np.array([happened[g].mean() for g in groups])
    n = np.array([len(g) for g in groups])
    z = 1.96
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    error = np.vstack([np.maximum(share - (centre - reach), 0), np.maximum(centre + reach - share, 0)])
    return x, share, error
