"""How every component is: the API's own checks, and of what it does not look at."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping, Sequence

from sqlalchemy.engine import Engine

from autotrader.apps.alerts.deliver import DELIVERY
from autotrader.apps.api.board import HealthBoard, Result
from autotrader.apps.api.checks import checks_of
from autotrader.apps.api.status import (
    VALUE_OF,
    Check,
    ComponentStatus,
    Finding,
    degraded,
    healthy,
    unhealthy,
    unknown,
)
from autotrader.apps.exporter.reading import Reading
from autotrader.config.settings import Settings
from autotrader.data.lake import Lake
from autotrader.deployment.requests import CONTROLLER_SILENCE_SECONDS
from autotrader.domain.errors import NotFound
from autotrader.domain.rollout import Color
from autotrader.domain.thresholds import ALERTING
from autotrader.ports.alerts import Alerts
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.deployment import DeploymentRecords, DeploymentTarget, SlotState
from autotrader.ports.trading import TradingRecords

PERIOD_SECONDS = 10.0
TIMEOUT_SECONDS = 5.0


class Components:
    """Looks at all of them side by side; one that hangs is unhealthy, and holds up no other."""

    def __init__(self, checks: Sequence[Check], clock: WallClock) -> None:
        self._board = HealthBoard(
            checks, clock, _to_nobody, timeout_seconds=TIMEOUT_SECONDS, interval_seconds=PERIOD_SECONDS
        )

    def read(self, reading: Reading) -> None:
        """Add health and latency of each; what is unknown has none."""
        asyncio.run(self._board.look())
        for name, result in self.results().items():
            reading.add("component_health", VALUE_OF.get(result.finding.status), component=name)
            seconds = None if result.latency_ms is None else result.latency_ms / 1000
            reading.add("component_check_seconds", seconds, component=name)

    def results(self) -> Mapping[str, Result]:
        """The newest finding of each."""
        return self._board.results()


def all_checks(
    settings: Settings,
    engine: Engine,
    records: TradingRecords,
    deployment: DeploymentRecords,
    target: DeploymentTarget,
    alerts: Alerts,
    lake: Lake,
    clock: WallClock,
    market_clock: MarketClock,
) -> tuple[Check, ...]:
    """The API's checks, then of controller, prediction services, delivery of alerts and lake."""
    return (
        *checks_of(settings, engine, records, clock, market_clock),
        Check("controller", lambda: controller(deployment, clock), is_essential=False),
        *(
            Check(
                f"prediction-{color.value}",
                functools.partial(prediction_service, deployment, target, color),
                is_essential=False,
            )
            for color in Color
        ),
        Check("alert_delivery", lambda: alert_delivery(alerts, deployment, clock), is_essential=False),
        Check("lake", lambda: lake_of(lake), is_essential=False),
    )


def controller(deployment: DeploymentRecords, clock: WallClock) -> Finding:
    """Whether it has been heard of."""
    heard = deployment.heartbeat("controller")
    if heard is None:
        return unknown("no controller has run: `python -m autotrader.apps.controller` starts one")
    silent = (clock.now() - heard[0]).total_seconds()
    if silent <= CONTROLLER_SILENCE_SECONDS:
        return healthy("the controller is at work")
    reason = f"the controller has been silent for {silent:.0f} s"
    # Without one, readers go back to the stable colour; with nothing under way, nothing is lost yet.
    return unhealthy(reason) if deployment.active() is not None else degraded(reason)


def prediction_service(deployment: DeploymentRecords, target: DeploymentTarget, color: Color) -> Finding:
    """Whether what is meant to run in a colour is ready."""
    slot = deployment.slots().get(color)
    if slot is None or not slot.is_wanted:
        return unknown(f"nothing is to run in {color.value}")
    if slot.state is SlotState.STARTING:
        return degraded(f"{slot.version} is starting in {color.value}")
    said = target.health(color)
    if said.ready:
        return healthy(f"{said.version} is ready in {color.value}")
    return unhealthy(f"expected {slot.version} to be ready in {color.value}, was: {said.reason}")


def alert_delivery(alerts: Alerts, deployment: DeploymentRecords, clock: WallClock) -> Finding:
    """Whether who tells people of our own alerts is at work, and gets rid of them."""
    heard = deployment.heartbeat(DELIVERY)
    if heard is None:
        return unknown("nobody has delivered alerts: `autotrader alerts deliver` does")
    silent = clock.now() - heard[0]
    if silent > ALERTING.delivery_silence:
        return unhealthy(f"the delivery of alerts has been silent for {silent.total_seconds():.0f} s")
    oldest = alerts.totals().oldest_waiting_at
    if oldest is not None and clock.now() - oldest > ALERTING.delivery_backlog:
        return degraded(f"a message has waited since {oldest:%F %T} UTC: see the log of the delivery")
    return healthy("alerts are delivered")


def lake_of(lake: Lake) -> Finding:
    """Whether its tables can be listed and the bars' log read."""
    names = lake.names()
    if not names:
        return unknown("the lake is empty: run data_pipeline")
    try:
        rows = lake.open("bars").count()
    except NotFound:
        return unknown(f"the lake has no bars yet, only {', '.join(names)}")
    return healthy(f"{len(names)} tables, {rows:,} bars")


def _to_nobody(_: str, __: ComponentStatus) -> None:
    """The board's results are read, not told."""
