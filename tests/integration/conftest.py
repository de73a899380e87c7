"""One running platform for all integration tests: Airflow, MLflow, and stand-ins of all three venues."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from autotrader.adapters.airflow_api import FINAL_RUN_STATES, AirflowApi, DagRun, TaskInstance
from autotrader.apps.exchange.simulated import SimulatedMarket
from autotrader.apps.stack import services
from autotrader.apps.stack.market import choose_market
from autotrader.bootstrap import Container
from autotrader.config.settings import Settings, load_settings
from autotrader.data.calendars import expected_opens
from autotrader.domain.bars import Interval
from autotrader.domain.errors import Unreachable
from autotrader.domain.instruments import Venue
from tests.fakes.oanda_server import OandaServer
from tests.fakes.tws_gateway import TwsGateway
from tests.services import UNSCHEDULED

END = datetime(2024, 3, 1, tzinfo=UTC)
DAYS = 12
RUN_SECONDS = 420.0


def ended(api: AirflowApi, dag_id: str, run_id: str) -> DagRun:
    """The run, once it came to its end; an Airflow that is too busy to answer is asked again."""
    deadline = time.monotonic() + RUN_SECONDS
    while True:
        with contextlib.suppress(Unreachable):
            run = api.run(dag_id, run_id)
            if run.state in FINAL_RUN_STATES:
                return run
        assert time.monotonic() < deadline, f"{dag_id} did not end: {api.tasks(dag_id, run_id)}"
        time.sleep(0.5)


@dataclass(frozen=True)
class Platform:
    """A running stack, and what the tests do with it."""

    settings: Settings
    environment: Mapping[str, str]
    api: AirflowApi
    gateway: TwsGateway
    oanda: OandaServer

    def trigger(self, dag_id: str, conf: Mapping[str, Any]) -> tuple[DagRun, dict[str, list[TaskInstance]]]:
        """Run the DAG to its end; returns the run and its task instances by task id."""
        self.api.unpause(dag_id)
        run = self.ended(dag_id, self.api.trigger(dag_id, conf))
        tasks: dict[str, list[TaskInstance]] = {}
        for task in self.api.tasks(dag_id, run.run_id):
            tasks.setdefault(task.task_id, []).append(task)
        return run, tasks

    def ended(self, dag_id: str, run_id: str) -> DagRun:
        """The run, once it came to its end."""
        return ended(self.api, dag_id, run_id)

    def why(self, run: DagRun) -> str:
        """What ended the failed tasks, for an assertion's message."""
        failed = [t for t in self.api.tasks(run.dag_id, run.run_id) if t.state == "failed"]
        return json.dumps({t.task_id: self.api.failure(t, run.dag_id, run.run_id) for t in failed}, indent=1)

    def command(self, *words: str) -> tuple[int, Any, str]:
        """Run `python -m <words> --json`; returns exit code, parsed stdout, stderr."""
        done = subprocess.run(
            [sys.executable, "-m", *words, "--json"],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None, done.stderr

    def container(self) -> Container:
        """The adapters that the stack's own processes use."""
        return Container(self.settings)


def _venue_bars(venue: Venue, symbols: tuple[str, ...]) -> dict[str, pl.DataFrame]:
    """Simulated minutes of an open market of the venue."""
    market = SimulatedMarket(symbols=symbols, seed=11, end=END, days=DAYS)
    opens = pl.Series(expected_opens(venue, Interval.M1, market.start, market.end))
    is_open = pl.col("ts").is_in(opens.dt.replace_time_zone("UTC").implode())
    return {symbol: market.candles(symbol).filter(is_open) for symbol in symbols}


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    home = tmp_path_factory.mktemp("platform")
    with ExitStack() as stack:
        gateway = stack.enter_context(TwsGateway(_venue_bars(Venue.IBKR, ("AAPL", "MSFT"))))
        oanda = stack.enter_context(OandaServer(_venue_bars(Venue.OANDA, ("EUR_USD",)), now=END))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {
                "HOME": str(home),
                "MARKET_SOURCE": "simulated",
                "SIMULATION__DAYS": str(DAYS),
                "SIMULATION__END": END.isoformat(),
                "SIMULATION__PLANTED_SIGNAL": "0.3",
                "VENUES": "binance,ibkr,oanda",
                "BINANCE__INSTRUMENTS": "BTCUSDT,ETHUSDT",
                "IBKR__PORT": str(gateway.port),
                "IBKR__INSTRUMENTS": "AAPL,MSFT",
                "OANDA__REST_URL": oanda.url,
                "OANDA__TOKEN": oanda.token,
                "OANDA__ACCOUNT": oanda.account,
                "OANDA__INSTRUMENTS": "EUR_USD",
                "TRAINING__LOOKBACK_DAYS": "6",
                "TRAINING__EVALUATION_DAYS": "4",
                "TRAINING__FOLD_DAYS": "2",
                "TRAINING__TRIALS_PER_MODEL": "2",
                "LOG__FORMAT": "console",
                "MONITORING__PROMETHEUS_URL": "http://127.0.0.1:9",  # not one of this machine
            }.items():
                patch.setenv(f"AUTOTRADER_{name}", value)
            for name, value in UNSCHEDULED.items():
                patch.setenv(name, value)
            settings = load_settings(of_stack=False)
            market = choose_market(settings, Container(settings).market_clock)
            processes = services.table(settings)
            stack.callback(processes.stop_all)
            settings = services.start(settings, market, tell=print)
            environment = dict(os.environ)
        api = stack.enter_context(services.airflow_client(settings))
        yield Platform(settings, environment, api, gateway, oanda)
