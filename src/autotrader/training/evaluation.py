"""Walk-forward judgement of the best recipe, on rows that nothing was chosen on.

The family and its parameters were chosen inside the first training window; calibration and
threshold of each fold come from its own training window. The model of the last fold is the one
that may be registered: nothing is fitted again after it was judged.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from autotrader.command import to_plain
from autotrader.config.settings import StrategySettings, TrainingSettings
from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Floats
from autotrader.execution.strategy import COST_MULTIPLE, VOLATILITY_FEATURE, StrategyRules
from autotrader.training.artifacts import content_key, exclusive, software
from autotrader.training.backtest import BacktestResult
from autotrader.training.champion import ChampionFiles, ask_champion
from autotrader.training.dataset import Dataset, PreparedData, open_dataset
from autotrader.training.export import ModelFiles
from autotrader.training.fitting import Recipe
from autotrader.training.folds import (
    FoldResult,
    Forecasts,
    instants_per_horizon,
    read_forecasts,
    read_importance,
    rows_per_instant,
    run_fold,
)
from autotrader.training.gates import Window
from autotrader.training.out_of_sample import OUT_OF_SAMPLE_FILE, OutOfSample, save_out_of_sample
from autotrader.training.results import Results
from autotrader.training.search import FamilySearch
from autotrader.training.skill import Skill, measure_skill
from autotrader.training.statistics import (
    Difference,
    sharpe_difference,
    sharpe_standard_error,
    total_difference,
)
from autotrader.training.strategy import hold, trade
from autotrader.training.windows import evaluation_folds

log = structlog.get_logger(__name__)

CURVES_FILE = "curves.npz"
MODEL, FLAT, BUY_AND_HOLD, SHUFFLED, CHAMPION = "model", "flat", "buy_and_hold", "shuffled_labels", "champion"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The best recipe, judged.

    Attributes
    ----------
    key : str
        Content hash of all that went into the model: its training key.
    folder : str
        Holds `curves.npz`, the model's files, and its forecasts by bar for its successor.
    family, parameters
        Of the recipe with the highest skill in the searches.
    first_ts, last_ts : datetime
        Of the rows that were judged, UTC.
    days, required_days : float
        Length of that window, and of the one that was asked for.
    statement : str
        What the window is, in a sentence.
    folds : tuple of FoldResult
    files : ModelFiles
        Of the last fold's model.
    importance : Mapping[str, float]
        Of the last fold's model by feature, as the model itself accounts for it; sums to 1.
    skill : Skill
        Of the concatenated forecasts.
    metrics : Mapping[str, Mapping[str, float or None]]
        By name (model, flat, buy_and_hold, shuffled_labels): the backtest's figures over the window.
    sharpe_per_bar, sharpe_standard_error : float or None
        The latter annualised.
    comparisons : Mapping[str, Mapping[str, float or None]]
        Annualised Sharpe ratio of the model minus that of an opponent: value and standard error.
    excess_standard_error : float or None
        Of net PnL minus the best baseline's, quote currency.
    has_champion : bool
    champion_window : Window or None
        That the champion was compared on.
    champion_statement : str
    """

    key: str
    folder: str
    family: str
    parameters: Mapping[str, Any]
    first_ts: datetime
    last_ts: datetime
    days: float
    required_days: float
    statement: str
    folds: tuple[FoldResult, ...]
    files: ModelFiles
    importance: Mapping[str, float]
    skill: Skill
    metrics: Mapping[str, Mapping[str, float | None]]
    sharpe_per_bar: float | None
    sharpe_standard_error: float | None
    comparisons: Mapping[str, Mapping[str, float | None]]
    excess_standard_error: float | None
    has_champion: bool
    champion_window: Window | None
    champion_statement: str


def evaluate_models(
    *,
    prepared: PreparedData,
    searches: Sequence[FamilySearch],
    strategy: StrategySettings,
    training: TrainingSettings,
    results: Results,
    champion: ChampionFiles | None = None,
    threads: int = 1,
) -> Evaluation:
    """Judge the recipe with the highest skill of all searches over the evaluation window.

    Parameters
    ----------
    prepared : PreparedData
    searches : sequence of FamilySearch
        At least one.
    strategy, training
        Costs and capital; windows and seed.
    results : Results
        The judgement becomes its `evaluation/<key>`.
    champion : ChampionFiles or None
        None: there is none.
    threads : int

    Raises
    ------
    BadData
        If the training set is not what was prepared, or there is no room for one fold.
    """
    best = max((s.best for s in searches), key=lambda t: t.skill or 0.0)
    recipe = Recipe(best.family, best.parameters, training.seed, threads)
    training_key = content_key(
        "model 2", prepared.sha256, prepared.labels, prepared.feature_set, recipe.family, recipe.parameters,
        recipe.seed, software(), training.lookback_days, training.fold_days, training.evaluation_days,
        strategy.horizon_minutes, strategy.round_trip_cost_bps,
    )  # fmt: skip
    digests = champion.digests() if champion else None
    name = f"evaluation/{content_key('evaluation 2', training_key, digests, strategy.allocated_capital)}"
    with exclusive(results.folder / f"{name}.lock"):
        existing = results.stored(name, Evaluation)
        if existing is not None:
            log.info("evaluation exists", key=training_key)
            return existing
        data = open_dataset(prepared)
        rules = StrategyRules.of(strategy)
        folds = evaluation_folds(data, training)
        metadata = _metadata(prepared, strategy, training_key, best.family)
        parts = [f"{folds_of(training_key)}/fold-{number:03d}" for number in range(len(folds))]
        judged = tuple(
            run_fold(
                data,
                fold,
                number,
                recipe,
                rules=rules,
                results=results,
                name=parts[number],
                export_as=metadata if number == len(folds) - 1 else None,
            )
            for number, fold in enumerate(folds)
        )
        with results.published(name) as staging:
            evaluation = _judge(
                data,
                judged,
                [read_forecasts(results.folder / part) for part in parts],
                key=training_key,
                importance=read_importance(results.folder / parts[-1]),
                folder=results.folder / name,
                staging=staging,
                recipe=recipe,
                rules=rules,
                training=training,
                champion=champion,
            )
            results.write(staging, evaluation)
    return results.read(name, Evaluation)


def folds_of(training_key: str) -> str:
    """Name of the folder of results in which the model's folds are, its files among them."""
    return f"folds/{training_key}"


def _judge(
    data: Dataset,
    folds: tuple[FoldResult, ...],
    forecasts: list[tuple[Forecasts, Forecasts]],
    *,
    key: str,
    importance: Floats,
    folder: Path,
    staging: Path,
    recipe: Recipe,
    rules: StrategyRules,
    training: TrainingSettings,
    champion: ChampionFiles | None,
) -> Evaluation:
    own = Forecasts.joined([f for f, _ in forecasts])
    shuffled = Forecasts.joined([f for _, f in forecasts])
    rows = own.rows
    paths = {
        MODEL: _trade(data, own, rules),
        FLAT: hold(data, rows, rules=rules, position=0.0),
        BUY_AND_HOLD: hold(data, rows, rules=rules, position=1.0),
        SHUFFLED: _trade(data, shuffled, rules),
    }
    model = paths[MODEL]
    lags = int(data.prepared.horizon / data.prepared.interval.delta)
    comparisons = {name: _difference(model, path, lags) for name, path in paths.items() if name != MODEL}
    curves = dict(paths)
    champion_statement, champion_window = "there is no champion yet", None
    if champion is not None:
        asked = ask_champion(champion, data, rows)
        champion_statement, champion_window = asked.reason, asked.window
        if asked.window is not None:
            curves[CHAMPION] = trade(
                data, asked.rows, asked.score, entry_score=asked.entry_score, rules=rules
            )
            challenger = own.after(np.isin(rows, asked.rows))
            comparisons[CHAMPION] = _difference(_trade(data, challenger, rules), curves[CHAMPION], lags)
    save_out_of_sample(OutOfSample.of(data, own), staging / OUT_OF_SAMPLE_FILE)
    _save_curves(staging / CURVES_FILE, curves, own, data)

    baselines = {name: paths[name] for name in (FLAT, BUY_AND_HOLD, SHUFFLED)}
    best = max(baselines.values(), key=lambda path: path.metrics.net_pnl)
    excess = total_difference(model.net_returns, best.net_returns, lags=lags)
    first, last = folds[0].test_start, folds[-1].test_end
    days = (last - first) / timedelta(days=1)
    files = _with_its_files(folds[-1], folder=folder, staging=staging)
    annual = np.sqrt(model.metrics.bars_per_year)
    return Evaluation(
        key=key,
        folder=str(folder),
        family=recipe.family,
        parameters=recipe.parameters,
        first_ts=first,
        last_ts=last,
        days=days,
        required_days=float(training.evaluation_days),
        statement=_statement(days, training, len(folds)),
        folds=folds,
        files=files,
        importance=dict(zip(data.prepared.feature_names, importance.tolist(), strict=True)),
        skill=measure_skill(
            own.probabilities,
            data.label[rows],
            instants_per_horizon=instants_per_horizon(data),
            rows_per_instant=rows_per_instant(data),
            seed=recipe.seed,
        ),
        metrics={name: to_plain(path.metrics) for name, path in curves.items()},
        sharpe_per_bar=_known(model.metrics.sharpe / annual),
        sharpe_standard_error=_known(sharpe_standard_error(model.net_returns, lags=lags) * annual),
        comparisons={name: to_plain(difference) for name, difference in comparisons.items()},
        excess_standard_error=_known(excess.standard_error * rules.capital),
        has_champion=champion is not None,
        champion_window=champion_window,
        champion_statement=champion_statement,
    )


def _with_its_files(fold: FoldResult, *, folder: Path, staging: Path) -> ModelFiles:
    """The model of the fold among the judgement's own files: all that later steps need is there."""
    if fold.files is None:
        raise BadData(f"expected the model's files in the last fold of {folder}: delete it and run again")
    moved = {}
    for name in ("onnx_path", "native_path"):
        path = Path(getattr(fold.files, name))
        shutil.copyfile(path, staging / path.name)
        moved[name] = str(folder / path.name)
    return replace(fold.files, **moved)


def _trade(data: Dataset, forecasts: Forecasts, rules: StrategyRules) -> BacktestResult:
    return trade(data, forecasts.rows, forecasts.score, entry_score=forecasts.entry_score, rules=rules)


def _difference(model: BacktestResult, other: BacktestResult, lags: int) -> Difference:
    return sharpe_difference(
        model.net_returns, other.net_returns, bars_per_year=model.metrics.bars_per_year, lags=lags
    )


def _save_curves(
    path: Path, curves: Mapping[str, BacktestResult], forecasts: Forecasts, data: Dataset
) -> None:
    """Equity of every path at its bars, and forecasts by data set row, with what happened."""
    arrays: dict[str, Any] = {
        "rows": forecasts.rows,
        "probabilities": forecasts.probabilities,
        "label": data.label[forecasts.rows],
    }
    for name, result in curves.items():
        arrays[f"{name}_ts"] = result.ts
        arrays[f"{name}_equity"] = result.equity / result.capital
    model = curves[MODEL]
    np.savez(path, **arrays, net_returns=model.net_returns)


def _statement(days: float, training: TrainingSettings, folds: int) -> str:
    what = f"{folds} test folds of {training.fold_days} days"
    if days >= training.evaluation_days - 1:
        return f"judged on {days:.0f} days out of sample in {what}"
    return (
        f"judged on {days:.1f} days out of sample in {what}, of {training.evaluation_days} asked for: "
        f"history allows no more beside the {training.lookback_days} days to learn from, and gates that "
        "need more are undecided"
    )


def _metadata(
    prepared: PreparedData, strategy: StrategySettings, training_key: str, family: str
) -> dict[str, str]:
    return {
        "training_key": training_key,
        "family": family,
        "feature_set": prepared.feature_set,
        "strategy_id": strategy.strategy_id,
        "interval": prepared.interval.value,
        "horizon_minutes": str(prepared.horizon_minutes),
        "round_trip_cost_bps": str(prepared.round_trip_cost_bps),
        "labels": prepared.labels,
        "decide_every_bars": str(prepared.sample_every_bars),
        "volatility_feature": VOLATILITY_FEATURE,
        "cost_multiple": str(COST_MULTIPLE),
        "data_source": ", ".join(prepared.sources),
    }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
