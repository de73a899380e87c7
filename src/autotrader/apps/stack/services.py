"""Bring the local stack up: stand-in exchange where one is needed, MLflow, Airflow, our own processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from autotrader.adapters.airflow_api import AirflowApi
from autotrader.adapters.local_ports import choose_port
from autotrader.adapters.local_target import LocalTarget
from autotrader.adapters.processes import ProcessSpec, ProcessTable
from autotrader.apps.stack import airflow
from autotrader.apps.stack.market import MarketChoice
from autotrader.config.settings import (
    PREFIX,
    RUNTIME_FILE,
    AirflowSettings,
    ApiSettings,
    ExchangeSettings,
    MlflowSettings,
    MonitoringSettings,
    Settings,
    load_settings,
)
from autotrader.domain.errors import DependencyError, Unreachable
from autotrader.domain.rollout import Color
from autotrader.files import write_atomically

EXCHANGE = "exchange"
MLFLOW = "mlflow"
CONTROLLER = "controller"
SHIPPING = "shipping"
API = "api"
ALERTS = "alerts"
EXPORTER = "exporter"
START_SECONDS = 300.0

Tell = Callable[[str], None]


def table(settings: Settings) -> ProcessTable:
    """The records of this home's processes."""
    return ProcessTable(settings.home / "processes")


def stop(settings: Settings) -> list[str]:
    """End every process of this home, the prediction services last; returns what was running."""
    ended = table(settings).stop_all()
    target = LocalTarget(settings)
    for color in Color:
        if target.health(color).live:
            ended.append(f"prediction-service-{color.value}")
        target.stop(color)
    return ended


def airflow_client(settings: Settings) -> AirflowApi:
    """Of the Airflow that is started here, whichever one the settings name beside it."""
    return AirflowApi(settings.airflow_url, user=settings.airflow.user, password=airflow.password(settings))


def start(settings: Settings, market: MarketChoice, tell: Tell) -> Settings:
    """Start what does not run yet, wait until it answers; returns the settings of the stack.

    What the stack decides (ports, the stand-in exchange's address, where market time stands) is
    written to `<home>/runtime.env`, which every process and command reads.

    Raises
    ------
    DependencyError
        If a process dies or does not answer in time, with the end of its log.
    """
    processes = table(settings)
    before = _read_runtime(settings.home)

    def port_of(name: str, setting: str, wanted: int, default: int) -> int:
        known = int(before.get(setting, default))
        variable = f"{PREFIX}{setting}"
        return choose_port(processes, name, variable=variable, wanted=wanted, default=default, before=known)

    mlflow_port = port_of(MLFLOW, "MLFLOW__PORT", settings.mlflow.port, MlflowSettings().port)
    api_port = port_of(API, "API__PORT", settings.api.port, ApiSettings().port)
    exporter_port = port_of(
        EXPORTER,
        "MONITORING__EXPORTER_PORT",
        settings.monitoring.exporter_port,
        MonitoringSettings().exporter_port,
    )
    airflow_port = port_of(airflow.API_SERVER, "AIRFLOW__PORT", settings.airflow.port, AirflowSettings().port)
    runtime = {
        "BINANCE__INSTRUMENTS": ",".join(market.instruments),
        "BINANCE__SOURCE": market.source,
        "MLFLOW__PORT": str(mlflow_port),
        "AIRFLOW__PORT": str(airflow_port),
        "API__PORT": str(api_port),
        "MONITORING__EXPORTER_PORT": str(exporter_port),
    }
    if not market.is_live:
        port = port_of(EXCHANGE, "EXCHANGE__PORT", settings.exchange.port, ExchangeSettings().port)
        runtime |= {
            "EXCHANGE__PORT": str(port),
            "BINANCE__REST_URL": f"http://127.0.0.1:{port}",
            "BINANCE__STREAM_URL": f"ws://127.0.0.1:{port}",
            "CLOCK__MARKET_TIME": market.end.isoformat(),
        }
        processes.start(ProcessSpec(EXCHANGE, _exchange_argv(market, port), {}))
    _write_runtime(settings.home, runtime)
    settings = load_settings()

    processes.start(_mlflow(settings))
    start_controller(settings)
    processes.start(_app(SHIPPING))
    processes.start(_app(API))
    processes.start(_app(ALERTS))
    processes.start(_app(EXPORTER))
    env = airflow.environment(
        settings,
        dags_folder=settings.airflow.dags_folder.resolve(),
        plugins_folder=settings.airflow.plugins_folder.resolve(),
    )
    if processes.process("airflow-scheduler") is None:
        tell("preparing Airflow's database")
        airflow.prepare(settings, env)
    for spec in airflow.processes(env):
        processes.start(spec)

    if not market.is_live:
        _wait(processes, EXCHANGE, lambda: _answers(f"{settings.binance.rest_url}/api/v3/ping"))
    tell("waiting for MLflow, Airflow and the API")
    _wait(processes, MLFLOW, lambda: _answers(f"{settings.mlflow_uri}/health"))
    _wait(processes, API, lambda: _answers(f"http://{settings.api.host}:{settings.api.port}/openapi.json"))
    with airflow_client(settings) as api:
        _wait(processes, "airflow-scheduler", lambda: _airflow_is_healthy(api))
    return settings


def start_controller(settings: Settings) -> None:
    """Start the controller unless it runs."""
    table(settings).start(_app(CONTROLLER))


def _app(name: str) -> ProcessSpec:
    return ProcessSpec(name, [sys.executable, "-m", f"autotrader.apps.{name}"], {})


def _airflow_is_healthy(api: AirflowApi) -> bool:
    try:
        health = api.health()
    except Unreachable:
        return False
    return all(health.get(component) == "healthy" for component in airflow.COMPONENTS)


def _mlflow(settings: Settings) -> ProcessSpec:
    folder = settings.home.resolve() / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    argv += ["--port", str(settings.mlflow.port), "--workers", "1"]
    argv += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    argv += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return ProcessSpec(MLFLOW, argv, environment)


def _exchange_argv(market: MarketChoice, port: int) -> list[str]:
    argv = [sys.executable, "-m", "autotrader.apps.exchange", "--port", str(port)]
    if market.folder:
        return [*argv, "--market", "recorded", "--folder", str(market.folder)]
    return [*argv, "--market", "simulated", "--symbols", *market.instruments]


def _read_runtime(home: Path) -> dict[str, str]:
    path = home / RUNTIME_FILE
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = (line.removeprefix(PREFIX).partition("=") for line in lines if line.startswith(PREFIX))
    return {name: value for name, _, value in pairs}


def _write_runtime(home: Path, values: dict[str, str]) -> None:
    lines = ["# What the local stack decided of itself; `make clean` removes it."]
    lines += [f"{PREFIX}{name}={value}" for name, value in values.items()]
    write_atomically(home / RUNTIME_FILE, ("\n".join(lines) + "\n").encode())


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _wait(processes: ProcessTable, name: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        processes.require_running(name)
        if time.monotonic() > deadline:
            end = processes.tail(name)
            raise DependencyError(f"{name} did not answer within {START_SECONDS:g} s; its log ends:\n{end}")
        time.sleep(0.3)
