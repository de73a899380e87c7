"""Every panel has something to show: a real Prometheus reads a platform at work, and answers each query.

At work are the API, a prediction service and the exporter as processes, and a trader that trades; Airflow, of
which the exporter tells, is a stand-in with a history, and of the backup there is its event alone. Pages are
read every other second, not every ten.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from autotrader.apps.trader.metrics import TradingMetrics
from autotrader.config.settings import Settings
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.metrics import Profile
from autotrader.monitoring.dashboards.catalogue import DASHBOARDS
from autotrader.monitoring.rules import rules
from autotrader.ports.events import Event, EventType
from autotrader.trading.bars import Batch
from tests.fakes.airflow_history import AirflowHistory
from tests.fakes.airflow_server import serve
from tests.fakes.small_market import INSTRUMENTS, NOW, STRATEGY
from tests.monitoring.alertmanager import running, until
from tests.monitoring.shown import empty_queries, panels_of
from tests.services import free_port
from tests.serving import make_release
from tests.serving import running as serving
from tests.trading import BTC, ETH, World, walk
from tests.unit.monitoring.live import Live, make_reference

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

# Why a panel may have nothing to show here.
EMPTY_HERE = {
    "trading_metrics: Value at risk": "twenty days of trading are behind that figure",
    "platform_operations: Job duration": "no job ran",
}
PATIENCE_SECONDS = 300


@dataclass
class Watched:
    """The generated files, and who has read the pages."""

    folder: Path
    prometheus: str


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    node = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
    if shutil.which("prometheus") is None or node is None:
        pytest.skip(
            "needs Prometheus and its node exporter: apt-get install prometheus prometheus-node-exporter"
        )
    made = tmp_path_factory.mktemp("watched")
    home, folder = made / "home", made / "monitoring"
    ports = {
        name: free_port() for name in ("api", "trader", "exporter", "prometheus", "alertmanager", "node")
    }
    history = AirflowHistory(queues=["default"])
    history.add("deployment_pipeline", "first", "failed", datetime.now(UTC) - timedelta(hours=2))
    with contextlib.ExitStack() as stack:
        checked_model(home)
        airflow = stack.enter_context(serve(history))
        environment = environment_of(home, airflow)
        predictions = stack.enter_context(serving(make_release(made / "release"), made / "predictions"))
        stack.enter_context(trading(home, ports["trader"]))
        backed_up(home)
        for name, page in (("api", "/openapi.json"), ("exporter", "/metrics")):
            stack.enter_context(
                running(
                    [sys.executable, "-m", f"autotrader.apps.{name}", "--port", str(ports[name])],
                    made / f"{name}.log",
                    f"http://127.0.0.1:{ports[name]}{page}",
                    environment=environment,
                )
            )
        where = f"127.0.0.1:{ports['node']}"
        command = [node, f"--web.listen-address={where}"]
        stack.enter_context(running(command, made / "node.log", f"http://{where}/"))
        stack.enter_context(callers(predictions.client, f"http://127.0.0.1:{ports['api']}"))
        generated(folder, ports, blue=int(predictions.url.rpartition(":")[2]))
        prometheus = f"http://127.0.0.1:{ports['prometheus']}"
        stack.enter_context(
            running(
                [
                    "prometheus",
                    f"--config.file={folder}/prometheus/prometheus.yml",
                    f"--storage.tsdb.path={made}/data",
                    f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
                ],
                made / "prometheus.log",
                f"{prometheus}/-/ready",
            )
        )
        until(
            lambda: asked(prometheus, 'pipeline_runs_total{dag_id="data_pipeline"}'),
            "pipelines to be seen", seconds=240,
        )  # fmt: skip
        history.add("data_pipeline", "second", "success", datetime.now(UTC))
        yield Watched(folder, prometheus)


def checked_model(home: Path) -> None:
    """A lake with a market, a live model, its predictions, and the report of the hourly check."""
    live = Live(home, make_reference())
    live.fill()
    live.deploy()
    live.serve()
    live.report()


def backed_up(home: Path) -> None:
    """As a backup tells of itself, an hour ago."""
    at = datetime.now(UTC) - timedelta(hours=1)
    SqlEventLog(open_database(f"sqlite:///{home}/autotrader.db")).record(
        Event(
            key="backup/of-tests",
            type=EventType.BACKUP,
            severity="info",
            message="a complete set",
            actor="test",
            at=at,
            data={},
        )
    )


def environment_of(home: Path, airflow: str) -> dict[str, str]:
    return {
        "AUTOTRADER_HOME": str(home),
        "AUTOTRADER_AIRFLOW__URL": airflow,
        "AUTOTRADER_AIRFLOW__PASSWORD": "x",
        "AUTOTRADER_STRATEGY__INTERVAL": STRATEGY.interval.value,
        "AUTOTRADER_BINANCE__INSTRUMENTS": ",".join(i.symbol for i in INSTRUMENTS),
        "AUTOTRADER_CLOCK__MARKET_TIME": NOW.isoformat(),
    }


@contextlib.contextmanager
def trading(home: Path, port: int) -> Iterator[None]:
    """A trader in the home's database: ten hours at once, and then some bars a second."""
    settings = Settings(_env_file=None, trading={"metrics_port": port})  # type: ignore[call-arg, arg-type]
    world = World(home, walk((BTC, ETH), 20_000), settings=settings)
    metrics = TradingMetrics(settings, world.records, world.account)
    ended = threading.Event()
    dealt_with = 0

    def pace(_: Batch) -> None:
        nonlocal dealt_with
        dealt_with += 1
        if ended.is_set():
            world.session.stop()
        elif dealt_with > 600:
            time.sleep(0.1)

    trader = threading.Thread(target=world.run, kwargs={"before_each": pace, "watch": metrics.take})
    with metrics.served():
        trader.start()
        try:
            until(lambda: dealt_with > 600, "ten hours to be traded", seconds=240)
            yield
        finally:
            ended.set()
            trader.join(timeout=60)


@contextlib.contextmanager
def callers(predictions: httpx.Client, api: str) -> Iterator[None]:
    """Somebody who asks for predictions and events, some times a second."""
    ended = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=api, trust_env=False, timeout=30) as client:
            while not ended.wait(0.2):
                with contextlib.suppress(httpx.TransportError):
                    predictions.post("/predict", json={"request_id": "x"})
                    client.get("/api/events")

    caller = threading.Thread(target=ask)
    caller.start()
    try:
        yield
    finally:
        ended.set()
        caller.join(timeout=60)


def generated(folder: Path, ports: dict[str, int], *, blue: int) -> None:
    """The files of this environment, read more often."""
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        api={"port": ports["api"]},  # type: ignore[arg-type]
        serving={"blue_port": blue, "green_port": free_port()},  # type: ignore[arg-type]
        trading={"metrics_port": ports["trader"]},  # type: ignore[arg-type]
        monitoring={  # type: ignore[arg-type]
            "exporter_port": ports["exporter"],
            "prometheus_port": ports["prometheus"],
            "alertmanager_port": ports["alertmanager"],
        },
    )
    rules(settings=settings, folder=folder)
    path = folder / "prometheus" / "prometheus.yml"
    path.write_text(
        path.read_text()
        .replace("127.0.0.1:9100", f"127.0.0.1:{ports['node']}")
        .replace('_interval: "10s"', '_interval: "2s"')
        .replace('scrape_timeout: "5s"', 'scrape_timeout: "2s"')
    )
    levels = folder / "prometheus" / "rules" / "service_levels.yml"
    levels.write_text(levels.read_text().replace('interval: "30s"', 'interval: "2s"'))


def asked(prometheus: str, query: str) -> bool:
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": query}, trust_env=False, timeout=60)
    return bool(answer.json()["data"]["result"])


def test_every_query_of_every_panel_has_a_number_to_show(watched: Watched) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while set(empty := empty_queries(watched.folder, watched.prometheus)) - set(EMPTY_HERE):
        assert time.monotonic() < deadline, {name: empty[name] for name in set(empty) - set(EMPTY_HERE)}
        time.sleep(2)
    shown = {panel["title"] for _, panel in panels_of(watched.folder)}
    conditional = {
        panel.title: panel.profile
        for dashboard in DASHBOARDS
        for panel in dashboard.panels()
        if panel.title not in shown
    }
    # What is not asked here needs a part that does not run here, and nothing else.
    assert set(conditional.values()) == {Profile.POSTGRES, Profile.REDIS, Profile.DISTRIBUTED}


def test_the_choices_of_a_reader_have_values(watched: Watched) -> None:
    for dashboard in DASHBOARDS:
        for variable in dashboard.variables:
            assert asked(watched.prometheus, f"count by ({variable.name}) ({variable.series})")


def test_a_panel_of_a_series_that_is_not_there_would_be_noticed(watched: Watched, tmp_path: Path) -> None:
    shutil.copytree(watched.folder / "dashboards", tmp_path / "dashboards")
    path = tmp_path / "dashboards" / "trading_metrics.json"
    path.write_text(path.read_text().replace('"expr": "trading_pnl_total"', '"expr": "trading_pnl"'))

    assert "trading_metrics: Current PnL" in empty_queries(tmp_path, watched.prometheus)
