"""The quality check: completeness, ranges, freshness, parity of what was served."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from autotrader.adapters.clocks import StandingMarketClock
from autotrader.domain.bars import Interval
from autotrader.domain.thresholds import SERVED_QUALITY
from autotrader.domain.verdicts import Severity
from autotrader.monitoring import quality
from autotrader.monitoring.checks import Check
from tests.fakes.clocks import LiveAt
from tests.fakes.small_market import INSTRUMENTS, NOW
from tests.unit.monitoring.live import Live


def test_served_as_computed_is_healthy(live: Live) -> None:
    live.fill()
    live.deploy()
    live.serve()
    check = live.quality()
    assert check.severity is Severity.HEALTHY, check.reason
    assert check.figures["rows"] == 576
    assert check.figures["parity"] == {
        "rows": 576,
        "largest_difference": 0.0,
        "held": 576,
        "not_in_store": 0,
        "restated": 0,
        "waiting": 0,
    }


def test_nothing_live_checks_the_tables_alone(live: Live) -> None:
    live.fill()
    check = live.quality()
    assert (check.decided, check.severity) == (True, Severity.HEALTHY)
    assert "nothing is live yet" in check.reason


def test_tables_that_stopped_are_critical(live: Live) -> None:
    live.fill()
    live.clock = StandingMarketClock(NOW + timedelta(hours=5))
    check = live.quality()
    assert check.severity is Severity.CRITICAL
    assert "features of binance:BTCUSDT is 300 minutes behind" in check.reason


def test_missing_values_warn_above_five_and_are_critical_above_ten_per_cent(live: Live) -> None:
    live.deploy()
    for share, severity in ((0.07, Severity.WARNING), (0.2, Severity.CRITICAL)):
        live.home = live.home / str(share)
        live.settings = live.settings.model_copy(update={"home": live.home})
        live.fill()
        holes = pl.int_range(pl.len()) % 100 < 100 * share
        live.serve(change=lambda rows, holes=holes: rows.with_columns(  # type: ignore[misc]
            rsi_14=pl.when(holes).then(float("nan")).otherwise("rsi_14").cast(pl.Float32)
        ))  # fmt: skip
        found = [f for f in live.quality().findings if f.check == "missing_share"]
        assert {f.severity for f in found} == {severity}
        assert "rsi_14 is missing in" in found[0].reason


def test_another_unit_is_out_of_range(live: Live) -> None:
    live.fill()
    live.deploy()
    live.serve(change=lambda rows: rows.with_columns(pl.col("volatility_200") * 100))
    found = [f for f in live.quality().findings if f.check == "range"]
    assert {f.severity for f in found} == {Severity.CRITICAL}
    assert "volatility_200 is outside 0 to 0.1" in found[0].reason


def test_the_smallest_difference_of_live_and_batch_is_critical(live: Live) -> None:
    live.fill()
    live.deploy()
    live.serve(change=lambda rows: rows.with_columns((pl.col("atr_14") * 1.000001).cast(pl.Float32)))
    check = live.quality()
    (finding,) = check.findings
    assert (finding.check, finding.severity) == ("parity", Severity.CRITICAL)
    assert "live and batch: atr_14 differs by" in finding.reason


def test_rows_newer_than_the_store_wait_and_those_that_it_lacks_are_counted(live: Live) -> None:
    live.fill()
    live.deploy()
    live.serve()
    for start, end in ((120, 90), (30, 0)):
        for symbol in ("BTCUSDT", "ETHUSDT"):
            live.store.rows.delete_range(
                instruments=[symbol],
                start=NOW - timedelta(minutes=start),
                end=NOW - timedelta(minutes=end),
                commit_key=f"late {symbol} {start}",
            )
    parity = live.quality().figures["parity"]
    assert (parity["rows"], parity["not_in_store"], parity["waiting"]) == (552, 12, 12)


# ------------------------------------------------- live: a data run brings a day at 02:00, and no more


RUN = NOW - timedelta(hours=22)  # at 02:00


def between_runs(live: Live, **serve: Any) -> None:
    """The run at RUN was the last one; what was served goes on after it."""
    live.fill()
    live.deploy()
    live.serve(hours=48, **serve)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        live.store.rows.delete_range(instruments=[symbol], start=RUN, commit_key=f"not yet {symbol}")


def at(live: Live, now: datetime) -> Check:
    live.clock = LiveAt(now)
    return live.quality()


def test_a_day_between_two_runs_is_healthy_and_all_of_it_is_compared(live: Live) -> None:
    between_runs(live)
    for hours in (2, 10, 21):  # 04:05, 12:05, 23:05
        check = at(live, RUN + timedelta(hours=hours, minutes=5))
        assert (check.decided, check.severity) == (True, Severity.HEALTHY), check.reason
        assert check.figures["parity"]["rows"] == 576
        assert "what was due" in check.reason


def test_a_run_that_must_have_ended_and_brought_nothing_is_critical(live: Live) -> None:
    between_runs(live)
    healthy, missed = (at(live, RUN + timedelta(hours=24 + hours)) for hours in (1.9, 2.1))
    assert healthy.severity is Severity.HEALTHY, healthy.reason
    assert missed.severity is Severity.CRITICAL
    assert "1440 minutes short" in missed.reason


@pytest.mark.parametrize("minutes", [5, 60, 700, 1435])
def test_a_difference_in_any_bar_is_found_within_a_day_of_checks(
    live: Live, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    monkeypatch.setattr(quality, "SERVED_QUALITY", replace(SERVED_QUALITY, parity_rows=100))
    wrong = (pl.col("ts") == RUN - timedelta(minutes=minutes)) & (pl.col("instrument") == "ETHUSDT")
    between_runs(live, change=lambda rows: rows.with_columns(
        atr_14=pl.when(wrong).then(pl.col("atr_14") * 1.01).otherwise("atr_14").cast(pl.Float32)
    ))  # fmt: skip
    checks = [at(live, RUN + timedelta(hours=hour, minutes=5)) for hour in range(2, 9)]
    assert all(check.figures["parity"]["rows"] <= 100 for check in checks)
    assert [c.findings[0].check for c in checks if c.severity is Severity.CRITICAL] in (
        ["parity"],
        ["parity"] * 2,  # six shares in seven hours: the first one came again
    )


def test_rows_that_the_store_should_have_and_has_not_leave_it_undecided(live: Live) -> None:
    between_runs(live, change=lambda rows: rows.filter(pl.col("ts") < RUN - timedelta(minutes=5)))
    live.store.rows.delete_range(
        instruments=["ETHUSDT"],
        start=RUN - timedelta(hours=30),
        end=RUN - timedelta(minutes=5),
        commit_key="taken back",
    )
    check = at(live, RUN + timedelta(hours=3))
    assert (check.decided, check.severity) == (False, Severity.HEALTHY)
    assert check.reason.startswith("undecided: no row served to binance:ETHUSDT could be compared")
    assert check.figures["parity"]["rows"] == 287


def test_restated_rows_alone_leave_it_undecided(live: Live) -> None:
    between_runs(live)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        (instrument,) = (i for i in INSTRUMENTS if i.symbol == symbol)
        day = live.store.load_features([instrument], interval=Interval.M5, start=RUN - timedelta(days=1))
        live.store.rows.delete_range(
            instruments=[symbol], start=RUN - timedelta(days=1), commit_key=f"anew {symbol}"
        )
        later = day.with_columns(pl.col("known_at") + timedelta(hours=1))
        live.store.write([later], commit_key=f"again {symbol}")
    check = at(live, RUN + timedelta(hours=3))
    assert not check.decided
    assert "576 were restated" in check.reason


def test_what_no_run_was_due_to_bring_is_waited_for(live: Live) -> None:
    live.fill()
    live.deploy()
    live.serve(hours=20)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        live.store.rows.delete_range(instruments=[symbol], start=RUN, commit_key=f"not yet {symbol}")
    check = at(live, NOW)
    assert (check.decided, check.severity) == (True, Severity.HEALTHY)
    assert "480 served rows are compared with the batch path once a data run brings" in check.reason
    assert check.figures["parity"] == {"rows": 0, "held": 0, "waiting": 480}


def test_a_feature_that_stands_still_is_critical(live: Live) -> None:
    live.fill()
    live.deploy()
    live.serve(change=lambda rows: rows.with_columns(atr_14=pl.lit(0.004, pl.Float32)))
    found = [f for f in live.quality().findings if f.check == "standing"]
    assert [f.severity for f in found] == [Severity.CRITICAL] * 2
    assert "atr_14 stands at 0.004 in all 288 rows" in found[0].reason
