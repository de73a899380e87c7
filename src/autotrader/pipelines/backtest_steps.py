"""The step of the `backtest` DAG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from autotrader.config.settings import Settings, StrategySettings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.domain.bars import floor_to
from autotrader.domain.errors import ConfigurationError
from autotrader.execution.strategy import EntryRule
from autotrader.features.store.store import FeatureStore
from autotrader.pipelines.jobs import done_as_job
from autotrader.pipelines.training_steps import chosen_instruments, training_results
from autotrader.pipelines.values import read_day
from autotrader.plain import from_plain
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.holds import Holds
from autotrader.ports.jobs import Jobs
from autotrader.ports.places import Places
from autotrader.ports.registry import ModelRegistry
from autotrader.ports.tracking import ExperimentTracker
from autotrader.registry.onnx_model import OnnxModel
from autotrader.training import retention
from autotrader.training.evaluation import BUY_AND_HOLD, MODEL
from autotrader.training.on_demand import backtest_on_demand
from autotrader.training.preparation import freeze_window


@dataclass(frozen=True, slots=True)
class Backtested:
    """What a backtest came to, and where to look.

    Attributes
    ----------
    model : str or None
        Semver.
    traded : str
        Whose figures follow: `model`, or `buy_and_hold` where none was named.
    decision_hash : str or None
        Of the model's positions: two backtests of equal hashes decided equally.
    net_pnl, net_return, sharpe, max_drawdown, trades
        As `autotrader.training.backtest.Metrics`; None where not defined.
    seconds : float
        What it took.
    metrics : Mapping
        All figures, of the baselines, too.
    report_url : str
        Of the run in MLflow, which keeps the report.
    report_path : str
        On the machine that it ran on, while it is among the newest.
    """

    model: str | None
    statement: str
    traded: str
    decision_hash: str | None
    net_pnl: float | None
    net_return: float | None
    sharpe: float | None
    max_drawdown: float | None
    trades: float | None
    seconds: float
    metrics: Mapping[str, Mapping[str, float | None]]
    report_url: str
    report_path: str


def run_backtest(
    *,
    run_key: str,
    model_version: str | None = None,
    instruments: list[str] | None = None,
    start_date: str | None = None,
    end_date: str | None = None,
    round_trip_cost_bps: float | None = None,
    settings: Settings,
    lake: Lake,
    holds: Holds,
    feature_store: FeatureStore,
    clock: MarketClock,
    registry: ModelRegistry,
    tracker: ExperimentTracker,
    places: Places,
    jobs: Jobs,
    wall_clock: WallClock,
) -> Backtested:
    """Backtest a registered model, or the baselines alone, over a stored window.

    Where the run is a try of a job, the job is told how it ended.

    Raises
    ------
    ConfigurationError
        If the dates are reversed, or an instrument is not of the settings.
    NotFound
        If there is no such version, or nothing is stored.
    Refused
        If the run is a try that is over.
    """

    def work() -> Backtested:
        return _backtest(
            run_key,
            model_version,
            instruments,
            start_date,
            end_date,
            round_trip_cost_bps,
            settings=settings,
            bars=BarStore(lake, holds),
            feature_store=feature_store,
            clock=clock,
            registry=registry,
            tracker=tracker,
            places=places,
            wall_clock=wall_clock,
        )

    return done_as_job(run_key, work, jobs=jobs, clock=wall_clock)


def _backtest(
    run_key: str,
    model_version: str | None,
    instruments: list[str] | None,
    start_date: str | None,
    end_date: str | None,
    round_trip_cost_bps: float | None,
    *,
    settings: Settings,
    bars: BarStore,
    feature_store: FeatureStore,
    clock: MarketClock,
    registry: ModelRegistry,
    tracker: ExperimentTracker,
    places: Places,
    wall_clock: WallClock,
) -> Backtested:
    begun = wall_clock.monotonic()
    costs = {} if round_trip_cost_bps is None else {"round_trip_cost_bps": round_trip_cost_bps}
    strategy = from_plain(StrategySettings, settings.strategy.model_dump() | costs)
    start, end = _window(start_date, end_date, now=floor_to(clock.now(), strategy.interval))
    results = training_results(settings, places)
    with retention.in_use(results):
        folder = results.folder / "backtests" / run_key
        model, onnx_path, every = None, None, settings.training.sample_every_bars
        if model_version is not None:
            model = registry.get(strategy.strategy_id, model_version)
            folder.mkdir(parents=True, exist_ok=True)
            onnx_path = registry.fetch_artifact(model, "model.onnx", folder)
            every = EntryRule.of(OnnxModel(onnx_path).metadata).every_bars
        prepared = freeze_window(
            bars=bars,
            features=feature_store,
            instruments=chosen_instruments(settings, instruments),
            strategy=strategy,
            sample_every_bars=every,
            start=start,
            as_of=end,
            results=results,
        )
        title = f"Backtest of {model.semver}" if model else "Backtest of the baselines"
        done = backtest_on_demand(
            prepared=prepared, onnx_path=onnx_path, title=title, strategy=strategy, folder=folder
        )
    run_id = tracker.start_run(
        key=f"backtest/{run_key}", name=title, tags={"sources": ", ".join(prepared.sources)}
    )
    tracker.log(
        run_id,
        params={
            "model": model.semver if model else "none",
            "window": done.statement,
            "round_trip_cost_bps": strategy.round_trip_cost_bps,
        },
        metrics={
            f"{path}_{name}": value
            for path, figures in done.metrics.items()
            for name, value in figures.items()
            if value is not None
        },
    )
    tracker.log_file(run_id, Path(done.report_path), "report")
    tracker.finish(run_id)
    traded = MODEL if model else BUY_AND_HOLD
    figures = done.metrics[traded]
    return Backtested(
        model=model.semver if model else None,
        statement=done.statement,
        traded=traded,
        decision_hash=done.decision_hash,
        net_pnl=figures["net_pnl"],
        net_return=figures["net_return"],
        sharpe=figures["sharpe"],
        max_drawdown=figures["max_drawdown"],
        trades=figures["trades"],
        seconds=round(wall_clock.monotonic() - begun, 3),
        metrics=done.metrics,
        report_url=tracker.run_url(run_id),
        report_path=done.report_path,
    )


def _window(start_date: str | None, end_date: str | None, *, now: datetime) -> tuple[datetime, datetime]:
    first, last = read_day(start_date, "start_date"), read_day(end_date, "end_date")
    start = datetime.combine(first, time(), UTC) if first else datetime(1970, 1, 1, tzinfo=UTC)
    end = min(now, datetime.combine(last, time(), UTC) + timedelta(days=1)) if last else now
    if start >= end:
        raise ConfigurationError(f"expected a start before {end:%F %H:%M}, was {start:%F}: swap the dates")
    return start, end
