"""What both colours' answers would have earned, from recorded pairs and stored bars."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from autotrader.config.settings import StrategySettings
from autotrader.deployment.analysis.guards import GuardEvidence
from autotrader.deployment.guards import TradedScores, guard_evidence
from autotrader.deployment.replay import ReplayRows
from autotrader.domain.instruments import InstrumentId
from autotrader.execution.strategy import VOLATILITY_FEATURE
from autotrader.ports.deployment import Pair

BEGIN = datetime(2024, 2, 1, tzinfo=UTC)
STRATEGY = StrategySettings(horizon_minutes=10, round_trip_cost_bps=2)
MINUTES = 240


@dataclass
class RisingBars:
    """A market that rises by a thousandth a minute, and is asked as the lake is."""

    missing: set[int] = field(default_factory=set)

    def read(self, instruments: list[InstrumentId], **window: Any) -> pl.DataFrame:
        at = [m for m in range(MINUTES + 2) if m not in self.missing]
        ts = [BEGIN + timedelta(minutes=m) for m in at]
        price = [100 * 1.001**m for m in at]
        frame = pl.DataFrame({"ts": ts, "open": price, "close": price, "volume": [10.0] * len(at)})
        return frame.filter(pl.col("ts") >= window["start"], pl.col("ts") < window["end"])


@dataclass
class Model:
    metadata: dict[str, str]


def model(entry_score: float | None = 0.2, *, every_bars: int = 1) -> Any:
    if entry_score is None:
        return Model({})
    return Model({"entry_score": json.dumps(entry_score), "decide_every_bars": json.dumps(every_bars)})


def rows(instrument: str = "binance:BTCUSDT") -> ReplayRows:
    ts = [int((BEGIN + timedelta(minutes=m)).timestamp() * 1e6) for m in range(MINUTES)]
    features = np.full((MINUTES, 1), 0.002, np.float32)
    return ReplayRows((instrument,) * MINUTES, np.array(ts), features, (VOLATILITY_FEATURE,), "test")


def pairs(stable: float | None, candidate: float | None, *, first: int = 0) -> list[Pair]:
    return [
        Pair(
            request_id=f"r{m}",
            instrument="binance:BTCUSDT",
            ts=BEGIN + timedelta(minutes=m),
            replayed=True,
            stable_status=200,
            candidate_status=200,
            stable_seconds=0.001,
            candidate_seconds=0.001,
            stable_score=stable,
            candidate_score=candidate,
            parity_difference=0.0,
        )
        for m in range(first, MINUTES)
    ]


def evidence(answered: list[Pair], bars: RisingBars | None = None, **models: Any) -> GuardEvidence | None:
    scores = TradedScores()
    scores.add(answered)
    both = {"stable": model(), "candidate": model()} | models
    return guard_evidence(scores, rows(), bars or RisingBars(), strategy=STRATEGY, **both)  # type: ignore[arg-type]


def test_who_forecasts_the_rise_earns_it_and_who_is_silent_earns_nothing() -> None:
    found = evidence(pairs(0.0, 0.9))
    assert found is not None
    assert not found.stable_returns.any()
    assert found.candidate_returns.sum() > 0.05
    assert (found.stable_trades, found.period_seconds) == (0, 60)
    assert found.periods_per_year == pytest.approx(525_600)


def test_closed_trades_and_those_that_won_are_counted() -> None:
    on_and_off = [
        p if (p.ts - BEGIN) % timedelta(minutes=60) < timedelta(minutes=20) else q
        for p, q in zip(pairs(0.9, 0.9), pairs(0.0, 0.0), strict=True)
    ]
    found = evidence(on_and_off)
    assert found is not None
    assert found.candidate_trades == found.candidate_wins == found.stable_trades >= 3


def test_each_model_is_traded_at_the_bars_at_which_it_decides() -> None:
    hourly = model(every_bars=60)
    between = [p if p.ts.minute else q for p, q in zip(pairs(0.9, 0.9), pairs(0.0, 0.0), strict=True)]
    found = evidence(between, candidate=hourly)
    assert found is not None
    assert found.stable_returns.sum() > 0
    assert not found.candidate_returns.any()


def test_the_first_answer_to_a_bar_counts_and_one_sided_pairs_do_not() -> None:
    scores = TradedScores()
    scores.add(pairs(None, 0.9))
    assert scores.instruments == []
    scores.add(pairs(0.1, 0.9)[:1])
    scores.add(pairs(0.5, 0.5)[:1])
    assert scores.of("binance:BTCUSDT")[1] == [(0.1, 0.9)]


def test_bars_that_are_missing_are_left_out_of_both() -> None:
    found = evidence(pairs(0.9, 0.9), RisingBars(missing={5, 6, 100}))
    assert found is not None
    assert np.array_equal(found.stable_returns, found.candidate_returns)


@pytest.mark.parametrize(
    ("answered", "models"),
    [(pairs(0.9, 0.9), {"stable": model(None)}), ([], {}), (pairs(0.9, 0.9, first=MINUTES - 1), {})],
    ids=["a model without an entry score", "nothing answered", "one bar"],
)
def test_where_nothing_can_be_compared_there_is_no_evidence(
    answered: list[Pair], models: dict[str, Any]
) -> None:
    assert evidence(answered, **models) is None
