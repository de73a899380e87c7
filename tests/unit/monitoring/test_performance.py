"""Performance over matured labels, and the ledger behind it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from autotrader.config.settings import LabelKind, LabelSettings
from autotrader.domain.verdicts import Severity
from autotrader.execution.forecasts import ForecastQuality, measure_forecasts
from autotrader.features.reference.files import Reference
from autotrader.monitoring.ledger import LEDGER_TABLE
from autotrader.monitoring.performance import independent_outcomes, judge_quality
from tests.fakes.small_market import NOW, STRATEGY
from tests.unit.monitoring.live import BASELINE, Live

HORIZON = timedelta(minutes=STRATEGY.horizon_minutes)


def ledger(live: Live) -> pl.DataFrame:
    return live.lake.open(LEDGER_TABLE).read()


def judged(live: Live, **differences: float) -> tuple[list[tuple[str, Severity]], str]:
    quality = ForecastQuality(2000, accuracy=0.5, mean_confidence=0.62, calibration_error=0.02)
    findings = judge_quality(replace(quality, **differences), BASELINE, independent=100.0, alarm=6e-4)
    return [(f.check, f.severity) for f in findings], "; ".join(f.reason for f in findings)


def test_only_predictions_whose_horizon_has_passed_are_judged(live: Live) -> None:
    live.fill()
    live.deploy()
    served = live.serve()
    check = live.performance()
    rows = ledger(live)
    assert check.decided
    assert rows["ts"].max() == NOW - HORIZON - timedelta(minutes=10)
    assert (rows["matured_at"] == rows["ts"] + HORIZON + timedelta(minutes=5)).all()
    assert rows["matured_at"].max() <= NOW
    assert check.figures["rows"] == rows.height == served - 2 * 13
    assert check.figures["taken_in"] == rows.height


def test_the_ledger_holds_what_happened(live: Live) -> None:
    live.fill()
    live.deploy()
    live.serve(hours=12)
    live.performance()
    for row in ledger(live).sample(20, seed=3).iter_rows(named=True):
        close = live.bars.bars.read(instruments=[row["instrument"]], columns=["ts", "close"])
        at = dict(close.iter_rows())
        gain = at[row["ts"] + HORIZON] / at[row["ts"]] - 1
        assert row["forward_return"] == pytest.approx(gain)
        assert row["label"] == (gain > 1e-3) - (gain < -1e-3)


def test_taking_in_twice_changes_nothing_and_later_labels_are_added(live: Live) -> None:
    live.fill()
    live.deploy()
    live.serve()
    live.clock = type(live.clock)(NOW - timedelta(hours=3))
    first = live.performance().figures["taken_in"]
    version = live.lake.open(LEDGER_TABLE).version()
    assert live.performance().figures["taken_in"] == 0
    assert live.lake.open(LEDGER_TABLE).version() == version
    live.clock = type(live.clock)(NOW)
    assert first + live.performance().figures["taken_in"] == ledger(live).height


def test_too_few_matured_labels_are_undecided(live: Live) -> None:
    live.fill()
    live.deploy()
    live.serve(hours=3)
    check = live.performance()
    assert not check.decided
    assert check.severity is Severity.HEALTHY
    assert "46 labels of 72 served predictions have matured" in check.reason
    assert "the newest is known at 2024-03-01 01:00" in check.reason
    assert "100 are needed" in check.reason


def test_bars_that_the_model_learnt_from_do_not_count(live: Live, reference: Reference) -> None:
    live.reference = replace(reference, about=replace(reference.about, learnt_until=NOW - timedelta(hours=2)))
    live.fill()
    live.deploy()
    live.serve()
    check = live.performance()
    assert not check.decided
    assert "528 are of bars that the model learnt from" in check.reason


def test_a_model_of_other_labels_is_not_judged_by_these(live: Live) -> None:
    live.fill()
    live.deploy()
    live.serve()
    other = STRATEGY.model_copy(update={"labels": LabelSettings(kind=LabelKind.TRIPLE_BARRIER)})
    live.settings = live.settings.model_copy(update={"strategy": other})
    check = live.performance()
    assert not check.decided
    assert "foresees forward_return" in check.reason


def test_as_good_as_it_was_is_healthy(live: Live) -> None:
    assert judged(live) == ([], "")


def test_below_ninety_per_cent_of_the_baseline_warns_and_is_critical_beyond_chance(live: Live) -> None:
    assert judged(live, accuracy=0.451)[0] == []
    found, reason = judged(live, accuracy=0.44)
    assert found == [("accuracy", Severity.WARNING)]
    assert "below 90% of what it was when the model was judged, 50.0%, within chance" in reason
    assert judged(live, accuracy=0.2)[0] == [("accuracy", Severity.CRITICAL)]


def test_low_confidence_warns_and_says_what_is_its_nature(live: Live) -> None:
    found, reason = judged(live, mean_confidence=0.55)
    assert found == [("confidence", Severity.WARNING)]
    assert "0.55 is below 0.6 (it was 0.62 when the model was judged)" in reason


def test_calibration_is_off_only_beyond_what_so_few_outcomes_show(live: Live) -> None:
    assert judged(live, calibration_error=0.15)[0] == []
    assert judged(live, calibration_error=0.2)[0] == [("calibration", Severity.WARNING)]


def test_labels_that_overlap_are_worth_one_outcome() -> None:
    start = datetime(2024, 2, 1, tzinfo=UTC)
    ts = [start + timedelta(minutes=m) for m in range(180)] * 2
    assert (
        independent_outcomes(pl.DataFrame({"ts": pl.Series(ts, dtype=pl.Datetime("us", "UTC"))}), HORIZON)
        == 3
    )


def test_quality_of_forecasts_by_hand() -> None:
    probabilities = pl.DataFrame(
        {"d": [0.8, 0.2, 0.1], "f": [0.1, 0.7, 0.3], "u": [0.1, 0.1, 0.6]}
    ).to_numpy()
    quality = measure_forecasts(probabilities, pl.Series([-1, 0, 0]).to_numpy())
    assert quality.accuracy == pytest.approx(2 / 3)
    assert quality.mean_confidence == pytest.approx(0.7)
    assert quality.calibration_error == pytest.approx((0.2 + 0.3 + 0.6) / 3)
