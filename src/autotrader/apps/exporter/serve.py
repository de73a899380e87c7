"""Serve the exporter's page until SIGTERM."""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import threading

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from sqlalchemy.engine import Engine

from autotrader import command
from autotrader.adapters.airflow_client import airflow_of
from autotrader.adapters.celery_workers import CeleryWorkers
from autotrader.apps.exporter.components import PERIOD_SECONDS, Components, all_checks
from autotrader.apps.exporter.deployment import Deployment
from autotrader.apps.exporter.jobs import JobCounts
from autotrader.apps.exporter.market_data import MarketData
from autotrader.apps.exporter.model_health import ModelHealth
from autotrader.apps.exporter.operations import AlertCounts, Backups
from autotrader.apps.exporter.page import PageServer
from autotrader.apps.exporter.pipelines import Pipelines
from autotrader.apps.exporter.trading import Trading
from autotrader.apps.exporter.watching import Source, Watch
from autotrader.apps.exporter.workers import Workers
from autotrader.apps.process_metrics import register_process, statement_histogram
from autotrader.config.settings import PREFIX, Settings
from autotrader.data.lake import Lake
from autotrader.db.timing import observe_statements
from autotrader.domain.errors import ConfigurationError
from autotrader.domain.metrics import Profile
from autotrader.features.store.store import FeatureStore
from autotrader.ports.alerts import Alerts
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.deployment import DeploymentRecords, DeploymentTarget
from autotrader.ports.events import EventLog
from autotrader.ports.holds import Holds
from autotrader.ports.jobs import Jobs
from autotrader.ports.trading import TradingRecords

AIRFLOW_SECONDS = 5.0  # patience with one of its answers; a look asks for several

log = structlog.get_logger(__name__)


def serve(
    *,
    settings: Settings,
    engine: Engine,
    events: EventLog,
    alerts: Alerts,
    jobs: Jobs,
    records: TradingRecords,
    deployment: DeploymentRecords,
    target: DeploymentTarget,
    lake: Lake,
    holds: Holds,
    features: FeatureStore,
    clock: WallClock,
    market_clock: MarketClock,
    host: str | None = None,
    port: int | None = None,
) -> command.Result:
    """Export what is read from stores: pipelines, features, deployment, health, backups, jobs.

    Once it answers, it prints one JSON line that says where. A source that is away takes its own metrics
    with it and nothing else: see `exporter_source_up`, and /health for the reason.

    Parameters
    ----------
    host : str or None
        Address to listen on; that of the settings if left out.
    port : int or None
        That of the settings if left out; 0 takes a free one.

    Raises
    ------
    ConfigurationError
        If the port is taken.
    """
    components = Components(
        all_checks(settings, engine, records, deployment, target, alerts, lake, clock, market_clock), clock
    )
    pipelines = Pipelines(lambda: airflow_of(settings, timeout_seconds=AIRFLOW_SECONDS))
    sources = (
        Source("airflow", pipelines.read, timeout_seconds=20.0),
        Source(
            "deployment",
            Deployment(
                settings.strategy.strategy_id, engine, deployment, lambda: pipelines.last_failed_deployment
            ).read,
        ),
        Source("trading", Trading(records, settings.trading.account).read),
        Source("backups", Backups(events).read),
        Source("alerts", AlertCounts(alerts).read),
        Source("jobs", JobCounts(jobs, clock).read),
        Source("model_health", ModelHealth(settings.home.resolve() / "reports" / "health").read),
        Source(
            "market_data",
            MarketData(settings, lake, holds, features, market_clock).read,
            period_seconds=20.0,
            timeout_seconds=30.0,
        ),
        Source("components", components.read, period_seconds=PERIOD_SECONDS),
        *_workers(settings, clock),
    )
    watch = Watch(sources, clock)
    registry = CollectorRegistry()
    registry.register(watch)
    register_process(registry)
    statements = statement_histogram(registry)
    observe_statements(engine, lambda operation, seconds: statements.labels(operation).observe(seconds))
    address = (
        host or settings.monitoring.exporter_host,
        settings.monitoring.exporter_port if port is None else port,
    )
    server = _bind(address, registry, watch, components)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    watch.start()
    answering = threading.Thread(target=server.serve_forever, name="page", daemon=True)
    answering.start()
    name, taken = server.server_address[:2]
    sys.stdout.write(json.dumps({"url": f"http://{name!s}:{taken}"}) + "\n")
    sys.stdout.flush()
    ended.wait()
    log.info("ending")
    watch.stop()
    server.shutdown()
    server.server_close()
    return command.Result({"stopped": True}, "stopped")


def _workers(settings: Settings, clock: WallClock) -> tuple[Source, ...]:
    """Where tasks run on Celery."""
    if Profile.DISTRIBUTED not in settings.monitoring.profiles:
        return ()
    # Made when it is asked: what is missing for it takes no other source away.
    asker = functools.cache(lambda: CeleryWorkers(_broker_url(settings)))
    return (Source("workers", Workers(lambda: asker()(), clock).read),)


def _broker_url(settings: Settings) -> str:
    if settings.airflow.broker_url is not None:
        return settings.airflow.broker_url.get_secret_value()
    url = os.environ.get("AIRFLOW__CELERY__BROKER_URL")
    if not url:
        raise ConfigurationError(
            f"{PREFIX}AIRFLOW__BROKER_URL: expected the broker of Celery's workers with the profile "
            "distributed, was empty"
        )
    return url


def _bind(
    address: tuple[str, int], registry: CollectorRegistry, watch: Watch, components: Components
) -> PageServer:
    def health() -> dict[str, object]:
        return {
            "sources": {
                name: {"up": found.is_up, "reason": found.reason} for name, found in watch.found().items()
            },
            "components": {
                name: {
                    "status": result.finding.status.value,
                    "latency_ms": result.latency_ms,
                    "reason": result.finding.reason,
                }
                for name, result in components.results().items()
            },
        }

    try:
        return PageServer(address, lambda: generate_latest(registry), health)
    except OSError as error:
        raise ConfigurationError(
            f"expected to listen on {address[0]}:{address[1]}, was {error.strerror}: set "
            f"{PREFIX}MONITORING__EXPORTER_PORT"
        ) from error


if __name__ == "__main__":
    raise SystemExit(command.run(serve))
