"""The drift check, from served rows in the lake to a verdict in words."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from autotrader.data.predictions import PredictionStore
from autotrader.domain.errors import BadData, Unreachable
from autotrader.domain.verdicts import Severity
from autotrader.features.definitions import BALANCED
from tests.unit.monitoring.live import Live


def standing(name: str, value: float) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.with_columns(pl.lit(value, pl.Float32).alias(name))


def test_what_is_served_as_it_was_learnt_is_healthy(live: Live) -> None:
    live.deploy()
    live.serve()
    check = live.drift()
    assert (check.decided, check.severity) == (True, Severity.HEALTHY), check.reason
    assert check.figures["model"] == "v1.0.0"
    assert check.figures["rows"] == 576
    assert check.figures["compared_with"].startswith("windows of 24 h of all instruments")


@pytest.mark.parametrize(
    "change",
    [
        standing("rsi_14", 50.0),
        lambda rows: rows.with_columns(pl.col("rsi_14") / 100),
        lambda rows: rows.with_columns(pl.col("zscore_20") + 1.5),
        lambda rows: rows.with_columns(pl.col("taker_buy_share_20") * 0.5),
    ],
    ids=["stands still", "another unit", "shifted", "halved"],
)
def test_a_feature_that_broke_is_critical_and_named_first(
    live: Live, change: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    live.deploy()
    live.serve(change=change)
    check = live.drift()
    assert check.severity is Severity.CRITICAL
    worst = check.figures["features"][0]
    assert worst["name"] in {"rsi_14", "zscore_20", "taker_buy_share_20"}
    assert worst["psi"] > 0.3
    assert worst["p_value"] <= check.figures["alarm_p_value"]
    assert worst["name"] in check.reason
    assert "moved: PSI" in check.reason


def test_values_that_lost_their_company_are_seen_though_their_distribution_stands(live: Live) -> None:
    live.deploy()
    live.serve(change=lambda rows: rows.with_columns(pl.col("rsi_14").shuffle(seed=1)))
    check = live.drift()
    (finding,) = [f for f in check.findings if f.check == "correlation_change"]
    assert finding.evidence["feature"] == "rsi_14"
    assert not [f for f in check.findings if f.evidence.get("feature") == "rsi_14" and "psi" in f.evidence]


def test_predictions_that_moved_are_critical_though_no_feature_did(live: Live) -> None:
    live.deploy()
    live.serve(change=lambda rows: rows)
    served = live.lake.open("predictions_balanced_v1")
    moved = served.read().with_columns(p_up=pl.lit(0.9, pl.Float32), p_down=pl.lit(0.05, pl.Float32))
    for part in moved.partition_by("venue", "interval", "instrument", "color", maintain_order=True):
        live.lake.table(
            "predictions_balanced_v1",
            served.schema,
            partition_by=served.partition_by,
            row_key=("ts", "request_id", "row"),
        ).upsert([part], commit_key=f"moved-{part['instrument'][0]}")
    check = live.drift()
    assert check.severity is Severity.CRITICAL
    assert [f.check for f in check.findings] == ["prediction_drift"]


def test_calendar_features_are_left_out(live: Live) -> None:
    live.deploy()
    live.serve(change=standing("hour", 3.0))
    assert {f["name"] for f in live.drift().figures["features"]}.isdisjoint(BALANCED.names[25:37])


def test_one_instrument_alone_is_compared_with_itself(live: Live) -> None:
    live.deploy()
    live.serve(change=lambda rows: rows.filter(pl.col("instrument") == "BTCUSDT"))
    check = live.drift()
    assert check.severity is Severity.HEALTHY, check.reason
    assert "of one instrument" in check.figures["compared_with"]


def test_an_answer_that_was_acted_on_comes_before_a_replayed_one_and_bars_count_once(live: Live) -> None:
    live.deploy()
    live.serve()
    twice = live.lake.open("predictions_balanced_v1").read()
    again = twice.with_columns(
        pl.col("request_id") + "-again", pl.lit(value=True).alias("replayed"), color=pl.lit("green")
    )
    PredictionStore(live.lake).append(again)
    check = live.drift()
    assert (check.figures["rows"], check.figures["replayed"]) == (576, 0)


def test_an_hour_is_compared_with_hours(live: Live) -> None:
    live.deploy()
    live.serve(hours=1.5)
    check = live.drift()
    assert check.decided
    assert check.figures["compared_with"].startswith("windows of 1 h ")


def test_too_little_to_say_is_undecided_and_says_so(live: Live) -> None:
    assert "no version of autotrader-strategy is live yet" in live.drift().reason
    live.deploy()
    nothing = live.drift()
    assert (nothing.decided, nothing.severity) == (False, Severity.HEALTHY)
    assert "0 rows served by v1.0.0 in the last 24 h" in nothing.reason
    live.serve(hours=0.5)
    assert "12 rows served" in live.drift().reason


def test_a_version_without_a_reference_is_undecided(live: Live) -> None:
    live.deploy(with_reference=False)
    check = live.drift()
    assert not check.decided
    assert "registered without a reference" in check.reason


def test_a_spoilt_reference_and_a_silent_registry_are_errors(live: Live) -> None:
    live.deploy()
    live.registry.artifacts["autotrader-strategy", "v1.0.0", "reference.npz"] += b"!"
    with pytest.raises(BadData, match=r"reference\.npz"):
        live.drift()
    live.registry.reachable = False
    with pytest.raises(Unreachable):
        live.drift()
