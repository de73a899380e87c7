"""The same DAGs on Airflow's Celery executor with PostgreSQL and Redis: nothing of ours changes."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
import sqlalchemy

from autotrader.adapters.airflow_api import FINAL_RUN_STATES
from autotrader.adapters.celery_workers import CeleryWorkers
from autotrader.apps.stack import services
from autotrader.apps.stack.market import choose_market
from autotrader.bootstrap import Container
from autotrader.config.settings import load_settings
from autotrader.data.bars import BarStore
from autotrader.domain.bars import Interval
from tests.services import UNSCHEDULED, free_port, postgres, redis

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

END = datetime(2024, 3, 1, tzinfo=UTC)


def test_the_data_pipeline_runs_on_celery_workers_with_state_in_postgresql(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres(tmp_path) as database, redis(tmp_path) as broker:
        engine = sqlalchemy.create_engine(database, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for name in ("airflow", "platform"):
                connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
        base = sqlalchemy.engine.make_url(database)

        def url(driver: str, name: str) -> str:
            return base.set(drivername=driver, database=name).render_as_string(hide_password=False)

        for name, value in {
            **UNSCHEDULED,
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url("postgresql+psycopg2", "airflow"),
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": url("db+postgresql", "airflow"),
            "AUTOTRADER_DATABASE__URL": url("postgresql+psycopg", "platform"),
            "AUTOTRADER_DATABASE__LEDGER_URL": url("postgresql+psycopg", "platform"),
            "AUTOTRADER_MARKET_SOURCE": "simulated",
            "AUTOTRADER_SIMULATION__DAYS": "2",
            "AUTOTRADER_SIMULATION__END": END.isoformat(),
            "AUTOTRADER_BINANCE__INSTRUMENTS": "BTCUSDT,ETHUSDT",
            "AUTOTRADER_AIRFLOW__PORT": str(free_port()),
            "AUTOTRADER_MLFLOW__PORT": str(free_port()),
        }.items():
            monkeypatch.setenv(name, value)
        settings = load_settings(of_stack=False)
        processes = services.table(settings)
        try:
            market = choose_market(settings, Container(settings).market_clock)
            settings = services.start(settings, market, tell=print)
            with services.airflow_client(settings) as api:
                api.unpause("data_pipeline")
                conf = {"mode": "backfill", "start_date": f"{market.start:%F}"}
                run_id = api.trigger("data_pipeline", conf)
                while (run := api.run("data_pipeline", run_id)).state not in FINAL_RUN_STATES:
                    processes.require_running("airflow-worker")
                    time.sleep(0.5)
                assert run.state == "success", api.tasks("data_pipeline", run_id)
            ask = CeleryWorkers(broker)
            deadline = time.monotonic() + 60
            while not (heard := ask()):  # one that is slow to answer is not there
                assert time.monotonic() < deadline
            (worker,) = heard
            assert worker.name.startswith("celery@")
            assert (worker.memory_bytes or 0) > 50e6, "Airflow's worker loads what tells of it"
            container = Container(settings)
            stored = BarStore(container.lake, container.holds).read(
                settings.instruments(), interval=Interval.M1
            )
            assert stored.height == 2 * 2 * 1440
            airflow = sqlalchemy.create_engine(url("postgresql+psycopg", "airflow"))
            with airflow.connect() as connection:
                runs = connection.execute(sqlalchemy.text("SELECT run_id, state FROM dag_run")).all()
            assert runs == [(run_id, "success")]
        finally:
            family = {p.pid for name in processes.names() if (p := processes.process(name))}
            processes.stop_all()
        assert not [pid for pid in family if psutil.pid_exists(pid)]
