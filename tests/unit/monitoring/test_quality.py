"""The quality check: completeness, ranges, freshness, parity of what was served."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from autotrader.domain.verdicts import Severity
from tests.fakes.small_market import NOW
from tests.unit.monitoring.live import Live


def test_served_as_computed_is_healthy(live: Live) -> None:
    live.fill()
    live.deploy()
    live.serve()
    check = live.quality()
    assert check.severity is Severity.HEALTHY, check.reason
    assert check.figures["rows"] == 576
    parity = check.figures["parity"]
    assert parity == {"rows": 576, "largest_difference": 0.0, "not_in_store": 0, "restated": 0}


def test_nothing_live_checks_the_tables_alone(live: Live) -> None:
    live.fill()
    check = live.quality()
    assert (check.decided, check.severity) == (True, Severity.HEALTHY)
    assert "nothing is live yet" in check.reason


def test_tables_that_stopped_are_critical(live: Live) -> None:
    live.fill()
    live.clock = type(live.clock)(NOW + timedelta(hours=5))
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


def test_rows_that_are_not_in_the_store_yet_are_counted_not_judged(live: Live) -> None:
    live.fill()
    live.deploy()
    live.serve()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        live.store.rows.delete_range(
            instruments=[symbol], start=NOW - timedelta(minutes=30), commit_key=f"late {symbol}"
        )
    parity = live.quality().figures["parity"]
    assert (parity["rows"], parity["not_in_store"]) == (564, 12)


def test_a_feature_that_stands_still_is_critical(live: Live) -> None:
    live.fill()
    live.deploy()
    live.serve(change=lambda rows: rows.with_columns(atr_14=pl.lit(0.004, pl.Float32)))
    found = [f for f in live.quality().findings if f.check == "standing"]
    assert [f.severity for f in found] == [Severity.CRITICAL] * 2
    assert "atr_14 stands at 0.004 in all 288 rows" in found[0].reason
