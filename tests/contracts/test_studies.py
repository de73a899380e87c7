"""Where searches remember their trials: a file of this machine, and PostgreSQL, which workers share."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from autotrader.db.engine import open_database
from autotrader.db.studies import SCHEMA, PostgresStudies
from autotrader.db.trials import SqlTrialLedger
from autotrader.domain.errors import Unreachable
from autotrader.training.results import Results
from autotrader.training.search import FamilySearch
from tests.fakes.small_market import NOW, STRATEGY
from tests.fakes.training_run import TRAINING, TrainingRun, signal_run
from tests.services import fresh_database

FAMILY = "logistic"
MANY = TRAINING.model_copy(update={"trials_per_model": 8})
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    """A search with Optuna's memory in a file."""
    run = signal_run(tmp_path_factory.mktemp("alone"))
    run.search(FAMILY)
    return run


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(fresh_database("postgres", tmp_path))
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))
    yield engine
    engine.dispose()


def on_postgres(engine: Engine, alone: TrainingRun, folder: Path, training: Any = TRAINING) -> TrainingRun:
    run = TrainingRun(alone.stores, folder, STRATEGY, training)
    run.studies = PostgresStudies(engine)
    return run


def told(search: FamilySearch) -> list[tuple[Any, ...]]:
    return [(t.number, t.key, t.state, t.skill, t.fold_skills, t.net_return) for t in search.trials]


def states(engine: Engine) -> dict[str, int]:
    """How many trials Optuna has in each state."""
    with engine.connect() as connection:
        trials = sa.table("trials", sa.column("state"), schema=SCHEMA)
        rows = connection.execute(
            sa.select(trials.c.state, sa.func.count().label("trials")).group_by(trials.c.state)
        )
        return {row.state: row.trials for row in rows}


def test_one_worker_makes_the_same_trials_on_postgresql_as_on_a_file(
    engine: Engine, alone: TrainingRun, tmp_path: Path
) -> None:
    run = on_postgres(engine, alone, tmp_path / "work")
    assert told(run.search(FAMILY)) == told(alone.search(FAMILY))
    assert "RUNNING" not in states(engine)
    tables = sa.inspect(engine)
    assert "studies" in tables.get_table_names(SCHEMA)
    assert "studies" not in tables.get_table_names()


def test_what_is_claimed_is_of_one_until_it_lets_go(engine: Engine) -> None:
    studies = PostgresStudies(engine)
    with (
        studies.claim("trial-1") as mine,
        studies.claim("trial-1") as again,
        studies.claim("trial-2") as other,
    ):
        assert (mine, again, other) == (True, False, True)
    with studies.claim("trial-1") as mine:
        assert mine


def test_outcomes_that_were_cleaned_away_are_made_again(
    engine: Engine, alone: TrainingRun, tmp_path: Path
) -> None:
    on_postgres(engine, alone, tmp_path / "work").search(FAMILY)
    fresh = on_postgres(engine, alone, tmp_path / "another")
    assert told(fresh.search(FAMILY)) == told(alone.search(FAMILY))


def test_a_database_that_does_not_answer_is_an_outage(alone: TrainingRun, tmp_path: Path) -> None:
    engine = sa.create_engine("postgresql+psycopg://autotrader@127.0.0.1:1/postgres")
    with pytest.raises(Unreachable, match=r"database of trials does not answer: .*refused"):
        on_postgres(engine, alone, tmp_path / "work").search(FAMILY)


WORKER = """
import sys, time
from pathlib import Path
from autotrader.adapters.clocks import StandingMarketClock
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.db.engine import open_database
from autotrader.db.studies import PostgresStudies
from autotrader.db.trials import SqlTrialLedger
from tests.contracts.test_studies import FAMILY, MANY
from autotrader.features.store.store import FeatureStore
from tests.fakes.holds import InMemoryHolds
from tests.fakes.small_market import NOW, STRATEGY, Stores
from tests.fakes.training_run import TrainingRun
from autotrader.training.trials import TrialRunner
folder, url, told = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
attempt = TrialRunner._try
def once_told(*arguments):
    while not told.exists():
        time.sleep(0.05)
    return attempt(*arguments)
TrialRunner._try = once_told
engine = open_database(url)
lake = Lake(str(folder / "lake"))
stores = Stores(BarStore(lake, InMemoryHolds()), FeatureStore(lake, StandingMarketClock(NOW)))
run = TrainingRun(stores, folder / "work", STRATEGY, MANY)
run.studies, run.ledger = PostgresStudies(engine), SqlTrialLedger(engine)
run.search(FAMILY)
"""


@contextlib.contextmanager
def worker(folder: Path, engine: Engine, told: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Begins its first trial, and goes on with it once that file is there."""
    url = engine.url.render_as_string(hide_password=False)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), url, str(told)],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def running(engine: Engine) -> set[int]:
    """Numbers of trials that somebody is at."""
    trials = sa.table("trials", sa.column("trial_id"), sa.column("state"), schema=SCHEMA)
    columns = ("trial_id", "key", "value_json")
    attributes = sa.table("trial_user_attributes", *map(sa.column, columns), schema=SCHEMA)
    query = (
        sa.select(attributes.c.value_json)
        .join(trials, trials.c.trial_id == attributes.c.trial_id)
        .where(attributes.c.key == "number", sa.cast(trials.c.state, sa.String) == "RUNNING")
    )
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version", schema=SCHEMA):
            return set()
        return {int(value) for value in connection.scalars(query)}


@pytest.mark.integration
def test_of_two_workers_one_is_killed_and_the_search_ends_with_the_trials_asked_for(
    engine: Engine, tmp_path: Path
) -> None:
    signal_run(tmp_path).prepare()
    never, go_on = tmp_path / "never", tmp_path / "go-on"
    with worker(tmp_path, engine, never) as one, worker(tmp_path, engine, go_on) as other:
        deadline = time.monotonic() + 120
        while len(running(engine)) < 2:  # both are at work, each at a trial of its own
            assert (one.poll(), other.poll()) == (None, None), "a worker ended"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        one.send_signal(signal.SIGKILL)
        go_on.touch()
        _, said = other.communicate(timeout=120)
        assert other.returncode == 0, said.decode()[-2000:]
    results = Results(tmp_path / "work", tmp_path / "work")
    found = [path for path in (tmp_path / "work" / "search").iterdir() if path.is_dir()]
    (search,) = (results.read(f"search/{path.name}", FamilySearch) for path in found)
    assert [trial.number for trial in search.trials] == list(range(MANY.trials_per_model))
    ended = states(engine)
    assert ended.pop("FAIL") == 1  # of the killed worker, and tried again
    assert sum(ended.values()) == MANY.trials_per_model
    assert set(ended) <= {"COMPLETE", "PRUNED"}
    ledger = SqlTrialLedger(engine)
    counted = ledger.overlapping(STRATEGY.strategy_id, NOW - timedelta(days=99), NOW)
    assert {trial.key for trial in counted} == {trial.key for trial in search.trials}
