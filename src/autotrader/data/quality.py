"""Checks of bars: which rows are refused, and what to think of a load as a whole.

A row is refused for what its own page shows, so that reading the archive again refuses the same
rows. What only a larger window shows (missing bars, stale runs, jumps) is a finding, and no
reason to refuse a row: markets do jump.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from autotrader.data.schemas import BAR_VALUES, DECODED_BARS
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import ASSET_CLASS_OF, AssetClass, Venue
from autotrader.domain.thresholds import DATA_QUALITY
from autotrader.domain.verdicts import Finding, Severity
from autotrader.ports.market_data import RawPage

PRICES = ("open", "high", "low", "close")
_AMOUNTS = ("volume", "quote_volume", "trade_count", "taker_buy_base", "taker_buy_quote", "spread")
_NUMBERS = (*PRICES, *(a for a in _AMOUNTS if a != "trade_count"))

REFUSALS = (
    "identity",
    "ts_missing",
    "ts_off_grid",
    "ts_outside_page",
    "not_closed",
    "not_a_number",
    "price_not_positive",
    "amount_negative",
    "ohlc_order",
    "reach",
    "duplicate",
    "conflicting_duplicate",
    "spike",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the rows should be: of which instrument, in which window, closed by when (all UTC)."""

    venue: Venue
    instrument: str
    interval: Interval
    start: datetime
    end: datetime
    market_time: datetime


@dataclass(frozen=True, slots=True)
class CheckedPage:
    """The rows of a page, told apart.

    Attributes
    ----------
    clean : pl.DataFrame
        `DECODED_BARS` columns, sorted by ts, ts unique.
    refused : pl.DataFrame
        `DECODED_BARS` columns under the page's own identity, `row` (position in the page) and
        `reason` (names of `REFUSALS`, comma-separated). A missing ts is the page's start.
    in_order : bool
        Whether the venue sent rows in ascending order.
    """

    clean: pl.DataFrame
    refused: pl.DataFrame
    in_order: bool


def check_page(rows: pl.DataFrame, page: Asked | RawPage) -> CheckedPage:
    """Tell the rows of a decoded page that can be stored from those that cannot.

    Parameters
    ----------
    rows : pl.DataFrame
        `DECODED_BARS` columns, as decoded.
    page : RawPage or Asked
        Where they come from, or what they should be.

    Notes
    -----
    Of equal duplicates the first stays. Of duplicates that differ none does: nothing says which
    is right. The first and the last row of a page cannot be told to be a spike.
    """
    rows = rows.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), *DECODED_BARS)
    in_order = rows["ts"].drop_nulls().is_sorted()
    flags = rows.select(test.fill_null(value=True).alias(name) for name, test in _tests(page).items())
    bad = (
        flags.select(pl.any_horizontal(pl.all())).to_series()
        if rows.height
        else pl.Series([], dtype=pl.Boolean)
    )
    sound = rows.filter(~bad).sort("ts", maintain_order=True)
    by_others = _refused_together(sound)
    if not bad.any() and not any(len(found) for found in by_others.values()):
        return CheckedPage(sound.drop("row"), _refused(rows.clear(), page, []), in_order)
    reasons = [(name, flags[name]) for name in flags.columns]
    reasons += [(name, rows["row"].is_in(found.implode())) for name, found in by_others.items()]
    refused = _refused(rows, page, reasons)
    clean = sound.join(refused.select("row"), on="row", how="anti", maintain_order="left").drop("row")
    return CheckedPage(clean, refused, in_order)


def _refused(
    rows: pl.DataFrame, page: Asked | RawPage, reasons: Sequence[tuple[str, pl.Series]]
) -> pl.DataFrame:
    """Rows for which a reason holds, under the page's identity, with the reasons."""
    named = [pl.when(flags).then(pl.lit(name)) for name, flags in reasons]
    joined = pl.concat_str(named, separator=",", ignore_nulls=True) if named else pl.lit("")
    return (
        rows.with_columns(joined.alias("reason"))
        .filter(pl.col("reason") != "")
        .with_columns(
            pl.lit(page.venue.value).alias("venue"),
            pl.lit(page.instrument).alias("instrument"),
            pl.lit(page.interval.value).alias("interval"),
            pl.col("ts").fill_null(page.start),
        )
    )


def missing_finding(
    subject: str, expected: np.ndarray[tuple[int], np.dtype[np.datetime64]], present: pl.Series
) -> Finding:
    """How many of the expected opens are not there: above 5 % warns, above 10 % is critical.

    Parameters
    ----------
    expected : datetime64[us] array, UTC
        From the calendar, not from what was fetched.
    present : pl.Series of Datetime
    """
    there = np.isin(expected, present.dt.replace_time_zone(None).to_numpy())
    missing = expected[~there]
    share = len(missing) / max(len(expected), 1)
    evidence = {
        "expected": len(expected),
        "missing": len(missing),
        "share": round(share, 6),
        "first_missing": [str(m) + "Z" for m in missing[:5].astype("datetime64[s]")],
    }
    reason = f"{subject} lacks {len(missing)} of {len(expected)} expected bars ({share:.2%})"
    limits = (DATA_QUALITY.missing_share_warning, DATA_QUALITY.missing_share_critical)
    return Finding("missing_share", _graded(share, *limits), reason, evidence)


def refused_findings(subject: str, refused: pl.DataFrame, total: int) -> list[Finding]:
    """One finding for each reason that occurred, or one that says that none did.

    Parameters
    ----------
    refused : pl.DataFrame
        With column `reason`.
    total : int
        Rows that were checked.
    """
    if refused.is_empty():
        return [Finding("refused", Severity.HEALTHY, f"{subject} has no bad rows", {"checked": total})]
    share = refused.height / max(total, 1)
    limits = (DATA_QUALITY.quarantined_share_warning, DATA_QUALITY.quarantined_share_critical)
    severity = _graded(share, *limits)
    counts = (
        refused["reason"].str.split(",").explode().value_counts().sort("count", "reason", descending=True)
    )
    return [
        Finding(
            name,
            severity,
            f"{subject} has {count} of {total} rows in quarantine for {name.replace('_', ' ')}",
            {"rows": count, "checked": total},
        )
        for name, count in counts.iter_rows()
    ]


def series_findings(subject: str, rows: pl.DataFrame) -> list[Finding]:
    """Stale runs and jumps in rows of one instrument, sorted by ts, in `DECODED_BARS` columns."""
    flat = (
        (pl.col("high") == pl.col("low"))
        & (pl.col("close") == pl.col("close").shift(1))
        & (pl.col("volume").fill_null(0) == 0)
    )
    runs = rows.select(flat.fill_null(value=False).rle().struct.unnest())
    longest = int(runs.filter(pl.col("value"))["len"].max() or 0)  # type: ignore[arg-type]
    stale = longest >= DATA_QUALITY.stale_run_bars
    moves = np.abs(np.diff(np.log(rows["close"].to_numpy())))
    jumps = rows["ts"][1:].filter(pl.Series(moves > _jump_limit(moves)))
    return [
        Finding(
            "stale_run",
            Severity.WARNING if stale else Severity.HEALTHY,
            f"{subject} has at most {longest} bars in a row without a trade",
            {"bars": longest, "bound": DATA_QUALITY.stale_run_bars},
        ),
        Finding(
            "jump",
            Severity.WARNING if len(jumps) else Severity.HEALTHY,
            f"{subject} has {len(jumps)} jumps",
            {"count": len(jumps), "at": [t.isoformat() for t in jumps.head(5)]},
        ),
    ]


def order_finding(subject: str, unordered_pages: int) -> Finding:
    """Pages whose rows came in another order than time's; they are sorted, and that is said."""
    severity = Severity.WARNING if unordered_pages else Severity.HEALTHY
    reason = f"{subject} came with {unordered_pages} pages out of order"
    return Finding("order", severity, reason, {"pages": unordered_pages})


def stored_findings(subject: str, rows: pl.DataFrame, page: Asked) -> list[Finding]:
    """The checks of a page applied to stored bars, as if they came as one."""
    checked = check_page(rows, page)
    return refused_findings(subject, checked.refused, rows.height) + series_findings(subject, checked.clean)


def _tests(page: Asked | RawPage) -> Mapping[str, pl.Expr]:
    """Reasons that a row shows by itself; null (not decidable) counts as refused."""
    ts = pl.col("ts")
    body_high, body_low = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    closes = ts.dt.timestamp("us") + page.interval.seconds * 1_000_000
    prices_known = pl.all_horizontal(pl.col(p).is_finite() for p in PRICES)
    return {
        "identity": ~(
            (pl.col("venue") == page.venue.value)
            & (pl.col("instrument") == page.instrument)
            & (pl.col("interval") == page.interval.value)
        ),
        "ts_missing": ts.is_null(),
        "ts_off_grid": _off_grid(ts, page).fill_null(value=False),
        "ts_outside_page": ((ts < page.start) | (ts >= page.end)).fill_null(value=False),
        "not_closed": (closes > _microseconds(page.market_time)).fill_null(value=False),
        "not_a_number": ~prices_known.fill_null(value=False)
        | pl.any_horizontal(~pl.col(a).is_finite().fill_null(value=True) for a in _NUMBERS),
        "price_not_positive": pl.any_horizontal(pl.col(p) <= 0 for p in PRICES).fill_null(value=False),
        "amount_negative": pl.any_horizontal((pl.col(a) < 0).fill_null(value=False) for a in _AMOUNTS),
        "ohlc_order": ((pl.col("low") > body_low) | (pl.col("high") < body_high)).fill_null(value=False),
        "reach": (
            (pl.col("low") > 0)
            & (
                (pl.col("high") > DATA_QUALITY.reach_ratio * body_high)
                | (pl.col("low") * DATA_QUALITY.reach_ratio < body_low)
            )
        ).fill_null(value=False),
    }


def _off_grid(ts: pl.Expr, page: Asked | RawPage) -> pl.Expr:
    """Hours and days of equities and FX open by their exchange's clock, not on the UTC grid."""
    by_exchange = page.interval in (Interval.H1, Interval.D1)
    if by_exchange and ASSET_CLASS_OF[page.venue] is not AssetClass.CRYPTO:
        return pl.lit(value=False)
    return ts.dt.timestamp("us") % (page.interval.seconds * 1_000_000) != 0


def _refused_together(sound: pl.DataFrame) -> dict[str, pl.Series]:
    """Positions of rows, sorted by ts, that others of the page show to be bad."""
    repeated = conflicting = sound["row"].clear()
    single = sound
    if sound["ts"].is_duplicated().any():
        several = sound.filter(pl.col("ts").is_duplicated())
        same = several.filter(pl.struct(BAR_VALUES).n_unique().over("ts") == 1)
        conflicting = several.join(same, on="row", how="anti")["row"]
        repeated = same.filter(pl.col("row") != pl.col("row").min().over("ts"))["row"]
        single = sound.filter(~pl.col("row").is_in(pl.concat([conflicting, repeated]).implode()))
    close = single["close"].to_numpy()
    moves = np.abs(np.diff(np.log(close)))
    limit = _jump_limit(moves)
    away, back = moves[:-1] > limit, moves[1:] > limit
    over = np.abs(np.log(close[2:]) - np.log(close[:-2])) <= limit
    return {
        "duplicate": repeated,
        "conflicting_duplicate": conflicting,
        "spike": single["row"][1:-1].filter(pl.Series(away & back & over))
        if len(close) > 2
        else repeated.clear(),
    }


def _jump_limit(moves: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Absolute log return above which a move is out of the ordinary."""
    typical = float(np.median(moves)) if len(moves) else 0.0
    return max(DATA_QUALITY.spike_floor, DATA_QUALITY.spike_median_returns * typical)


def _graded(share: float, warning: float, critical: float) -> Severity:
    if share > critical:
        return Severity.CRITICAL
    return Severity.WARNING if share > warning else Severity.HEALTHY


def _microseconds(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)
