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
from autotrader.features.store.store import FeatureStore
from autotrader.pipelines.training_steps import chosen_instruments, training_folder
from autotrader.pipelines.values import read_day
from autotrader.plain import from_plain
from autotrader.ports.clock import MarketClock
from autotrader.ports.holds import Holds
from autotrader.ports.registry import ModelRegistry
from autotrader.ports.tracking import ExperimentTracker
from autotrader.training import retention
from autotrader.training.on_demand import backtest_on_demand
from autotrader.training.preparation import freeze_window


@dataclass(frozen=True, slots=True)
class Backtested:
    """What a backtest came to, and where to look."""

    model: str | None
    statement: str
    metrics: Mapping[str, Mapping[str, float | None]]
    report_url: str


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
) -> Backtested:
    """Backtest a registered model, or the baselines alone, over a stored window.

    Raises
    ------
    ConfigurationError
        If the dates are reversed, or an instrument is not of the settings.
    NotFound
        If there is no such version, or nothing is stored.
    """
    costs = {} if round_trip_cost_bps is None else {"round_trip_cost_bps": round_trip_cost_bps}
    strategy = from_plain(StrategySettings, settings.strategy.model_dump() | costs)
    start, end = _window(start_date, end_date, now=floor_to(clock.now(), strategy.interval))
    work = training_folder(settings)
    with retention.in_use(work):
        prepared = freeze_window(
            bars=BarStore(lake, holds),
            features=feature_store,
            instruments=chosen_instruments(settings, instruments),
            strategy=strategy,
            sample_every_bars=settings.training.sample_every_bars,
            start=start,
            as_of=end,
            work=work,
        )
        folder = work / "backtests" / run_key
        model, onnx_path = None, None
        if model_version is not None:
            model = registry.get(strategy.strategy_id, model_version)
            folder.mkdir(parents=True, exist_ok=True)
            onnx_path = registry.fetch_artifact(model, "model.onnx", folder)
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
    return Backtested(model.semver if model else None, done.statement, done.metrics, tracker.run_url(run_id))


def _window(start_date: str | None, end_date: str | None, *, now: datetime) -> tuple[datetime, datetime]:
    first, last = read_day(start_date, "start_date"), read_day(end_date, "end_date")
    start = datetime.combine(first, time(), UTC) if first else datetime(1970, 1, 1, tzinfo=UTC)
    end = min(now, datetime.combine(last, time(), UTC) + timedelta(days=1)) if last else now
    if start >= end:
        raise ConfigurationError(f"expected a start before {end:%F %H:%M}, was {start:%F}: swap the dates")
    return start, end
