"""The step of `backtest` as a job has it done: its result, an MLflow that is away, a version that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autotrader.adapters.clocks import StandingMarketClock, SystemWallClock
from autotrader.bootstrap import Container
from autotrader.config.settings import Settings
from autotrader.data.lake import Lake
from autotrader.db.engine import open_database
from autotrader.db.jobs import SqlJobs
from autotrader.domain.errors import NotFound, Unreachable
from autotrader.features.store.store import FeatureStore
from autotrader.pipelines.backtest_steps import run_backtest
from autotrader.ports.events import Event, EventType
from autotrader.ports.jobs import Job, JobState, JobType
from tests.fakes.holds import InMemoryHolds
from tests.fakes.registry import InMemoryRegistry
from tests.fakes.small_market import INSTRUMENTS, NOW, STRATEGY, Stores, market
from tests.fakes.tracking import InMemoryTracker
from tests.services import fresh_database


class World:
    """Two weeks of a market, a job that was asked for, and servers in memory."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home, strategy=STRATEGY, binance={"instruments": _SYMBOLS})  # type: ignore[arg-type]
        frames = [market(symbol, days=4, momentum=0.85, seed=seed) for seed, symbol in enumerate(_SYMBOLS)]
        Stores.filled(Path(self.settings.lake_uri), frames)
        self.tracker, self.registry = InMemoryTracker(), InMemoryRegistry()
        home.mkdir(parents=True, exist_ok=True)
        self.jobs = SqlJobs(open_database(fresh_database("sqlite", home)), tries=2, retry_seconds=0)
        event = Event("job/a", EventType.AUDIT, "info", "asked", "tests", NOW)
        self.jobs.ask(Job("a", JobType.BACKTEST, {}, "olga", NOW), event)

    def run(self, run_key: str, **params: Any) -> Any:
        clock, lake = StandingMarketClock(NOW), Lake(self.settings.lake_uri)
        return run_backtest(
            run_key=run_key,
            **params,
            settings=self.settings,
            lake=lake,
            holds=InMemoryHolds(),
            feature_store=FeatureStore(lake, clock),
            clock=clock,
            registry=self.registry,
            tracker=self.tracker,
            places=Container(self.settings).place,
            jobs=self.jobs,
            wall_clock=SystemWallClock(),
        )


_SYMBOLS = tuple(instrument.symbol for instrument in INSTRUMENTS)


@pytest.fixture
def world(home: Path) -> World:
    return World(home)


def test_the_result_of_a_backtest_is_the_job_s_after_mlflow_was_away(world: World) -> None:
    world.tracker.reachable = False
    with pytest.raises(Unreachable):
        world.run("job-a-1")
    assert world.jobs.get("a").state is JobState.ASKED
    world.tracker.reachable = True
    done = world.run("job-a-2")
    result = world.jobs.get("a").result
    assert result is not None
    assert (result["traded"], result["model"], result["decision_hash"]) == ("buy_and_hold", None, None)
    assert result["net_pnl"] == done.metrics["buy_and_hold"]["net_pnl"] != 0
    assert result["seconds"] > 0
    assert Path(result["report_path"]).is_file()
    assert [each.state for each in world.jobs.tries("a")] == [JobState.FAILED, JobState.SUCCEEDED]


def test_a_version_that_there_is_not_is_given_up_at_once(world: World) -> None:
    with pytest.raises(NotFound):
        world.run("job-a-1", model_version="v9.9.9")
    assert world.jobs.get("a").state is JobState.FAILED
    assert "v9.9.9" in world.jobs.dead_letters()[0].reason


def test_a_run_by_hand_leaves_the_jobs_alone(world: World) -> None:
    assert world.run("manual__1").traded == "buy_and_hold"
    assert world.jobs.get("a").state is JobState.ASKED
