"""A backtest that somebody asked for: a registered model, or a baseline, over a stored window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autotrader.command import to_plain
from autotrader.config.settings import StrategySettings
from autotrader.domain.bars import parse_utc
from autotrader.domain.errors import BadData
from autotrader.execution.strategy import EntryRule, StrategyRules, score_of
from autotrader.registry.onnx_model import OnnxModel
from autotrader.training.backtest import BacktestResult
from autotrader.training.dataset import PreparedData, open_dataset
from autotrader.training.evaluation import BUY_AND_HOLD, FLAT, MODEL
from autotrader.training.report import write_backtest_report
from autotrader.training.strategy import decision_hash, hold, trade


@dataclass(frozen=True, slots=True)
class OnDemandBacktest:
    """What a model would have done.

    Attributes
    ----------
    statement : str
        What the window is, and how much of it the model had learnt from.
    learnt_share : float or None
        Share of the rows that the model had seen in training: on these it flatters itself. None
        without a model.
    metrics : Mapping[str, Mapping[str, float or None]]
        By path: `model`, `flat`, `buy_and_hold`.
    decision_hash : str or None
        Of the model's positions: equal ones decided equally. None without a model.
    report_path : str
    """

    statement: str
    learnt_share: float | None
    metrics: Mapping[str, Mapping[str, float | None]]
    decision_hash: str | None
    report_path: str


def backtest_on_demand(
    *, prepared: PreparedData, onnx_path: Path | None, title: str, strategy: StrategySettings, folder: Path
) -> OnDemandBacktest:
    """Trade the window by the model's forecasts, with the sizing, costs and fills of the gates.

    Parameters
    ----------
    prepared : PreparedData
        The window.
    onnx_path : Path or None
        The model; None compares the baselines alone.
    title : str
        Of the report.
    strategy : StrategySettings
        Costs and capital.
    folder : Path
        Where the report goes.

    Raises
    ------
    BadData
        If the file is no model of ours, or needs features that the window lacks.
    """
    data = open_dataset(prepared)
    rules = StrategyRules.of(strategy)
    rows = np.arange(len(data.ts))
    paths: dict[str, BacktestResult] = {
        FLAT: hold(data, rows, rules=rules, position=0.0),
        BUY_AND_HOLD: hold(data, rows, rules=rules, position=1.0),
    }
    window = f"{prepared.first_ts:%Y-%m-%d %H:%M} to {prepared.as_of:%Y-%m-%d %H:%M} UTC"
    learnt_share: float | None = None
    decisions: str | None = None
    statement = f"{window}; baselines alone"
    if onnx_path is not None:
        model = OnnxModel(onnx_path)
        missing = sorted(set(model.feature_names) - set(prepared.feature_names))
        if missing:
            raise BadData(f"expected the features of the model, was without {', '.join(missing)}")
        if "known_until" not in model.metadata:
            raise BadData(f"expected known_until in {onnx_path}: train the model again")
        rule = EntryRule.of(model.metadata)
        if rule.every_bars != prepared.sample_every_bars:
            raise BadData(
                f"expected rows of every {rule.every_bars} bars, at which the model decides, "
                f"were of every {prepared.sample_every_bars}"
            )
        columns = [prepared.feature_names.index(name) for name in model.feature_names]
        score = score_of(model.probabilities(data.features[:][:, columns]))
        entry_score = np.full(len(rows), rule.score)
        paths = {MODEL: trade(data, rows, score, entry_score=entry_score, rules=rules), **paths}
        decisions = decision_hash(data, rows, score, entry_score=entry_score, rules=rules)
        known_until = parse_utc(model.metadata["known_until"])
        learnt = data.ts < np.datetime64(known_until.replace(tzinfo=None), "us")
        learnt_share = float(np.mean(learnt))
        statement = (
            f"{window}; the model learnt until {known_until:%Y-%m-%d %H:%M}: it had seen"
            f" {learnt_share:.0%} of these rows, and on them it flatters itself"
        )
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / "backtest.html"
    metrics = {name: to_plain(path.metrics) for name, path in paths.items()}
    write_backtest_report(
        report, title=title, statement=statement, prepared=prepared, strategy=strategy, paths=paths
    )
    return OnDemandBacktest(statement, learnt_share, metrics, decisions, str(report))
