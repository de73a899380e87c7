"""Run the controller until it is told to stop."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType

import structlog
from sqlalchemy import Engine

from autotrader import command
from autotrader.adapters.releases import prepare_release
from autotrader.apps.controller.background import Background, BackgroundProjection
from autotrader.apps.controller.preparation import Preparation
from autotrader.apps.controller.watching import ReplayWatch
from autotrader.config.serving_token import serving_token
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.data.predictions import PredictionStore
from autotrader.db.locks import exclusive
from autotrader.deployment.checks.asking import golden_of
from autotrader.deployment.checks.golden import Golden
from autotrader.deployment.checks.pre_deploy import PreDeployReport, pre_deploy_checks
from autotrader.deployment.controller import Controller
from autotrader.deployment.projection import Projection
from autotrader.deployment.switching import scope_of
from autotrader.domain.errors import Unreachable
from autotrader.features.store.store import FeatureStore
from autotrader.ports.approvals import Approvals
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.deployment import DeploymentRecords, DeploymentTarget, Release, Rollout
from autotrader.ports.events import EventLog
from autotrader.ports.holds import Holds
from autotrader.ports.registry import ModelRegistry, ModelVersion

log = structlog.get_logger(__name__)

TICK_SECONDS = 0.2
# A database that does not answer is asked again after this long.
RETRY_SECONDS = 1.0


def control(
    *,
    wait_seconds: float = 60.0,
    settings: Settings,
    engine: Engine,
    records: DeploymentRecords,
    registry: ModelRegistry,
    target: DeploymentTarget,
    lake: Lake,
    holds: Holds,
    features: FeatureStore,
    predictions: PredictionStore,
    approvals: Approvals,
    events: EventLog,
    market_clock: MarketClock,
    wall_clock: WallClock,
) -> command.Result:
    """Own the rollouts of the strategy: check, decide, switch, take back, until SIGTERM.

    At most one runs at a time; another waits for its end. Ended in the middle of a rollout, it is
    started again and goes on; until then callers return to the stable colour by themselves.

    Parameters
    ----------
    wait_seconds : float
        Patience while another controller runs.
    """
    strategy_id = settings.strategy.strategy_id
    releases = settings.home.resolve() / "deployment" / "releases"
    token = serving_token(settings)
    bars = BarStore(lake, holds)

    def prepare(version: ModelVersion) -> Release:
        return prepare_release(registry, version, releases)

    def checks(rollout: Rollout, folder: Path) -> PreDeployReport:
        return pre_deploy_checks(
            version=rollout.version,
            submitted_by=rollout.requested_by,
            asked_at=rollout.created_at,
            folder=folder,
            settings=settings,
            registry=registry,
            store=features,
            bars=bars,
            approvals=approvals,
            market_clock=market_clock,
            wall_clock=wall_clock,
        )

    def golden(folder: Path, version: ModelVersion, path: Path) -> Golden:
        return golden_of(folder, version, path, features, settings)

    watch = ReplayWatch(
        settings=settings,
        records=records,
        registry=registry,
        target=target,
        prepare=prepare,
        predictions=predictions,
        features=features,
        bars=bars,
        token=token,
        market_clock=market_clock,
        wall_clock=wall_clock,
    )
    stop = threading.Event()

    def end(_: int, __: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with exclusive(engine, f"controller-{strategy_id}", wait_seconds=wait_seconds):
        work = Background(
            Preparation(
                settings=settings,
                records=records,
                registry=registry,
                target=target,
                prepare=prepare,
                checks=checks,
                golden=golden,
                token=token,
                clock=wall_clock,
            )
        )
        projection = BackgroundProjection(
            Projection(records, registry, wall_clock, target=target, model=strategy_id, events=events)
        )
        controller = Controller(
            records=records,
            target=target,
            work=work,
            watch=watch,
            projection=projection,
            clock=wall_clock,
            strategy=scope_of(settings),
            settings=settings.deployment,
        )
        log.info("controller at work", strategy=strategy_id)
        try:
            while not stop.is_set():
                try:
                    controller.tick()
                    pause = TICK_SECONDS
                except Unreachable as error:
                    log.error("nothing can be decided", reason=str(error))
                    pause = RETRY_SECONDS
                stop.wait(pause)
        finally:
            watch.end()
            work.end()
            projection.end()
    return command.Result({"strategy": strategy_id}, "controller ended")
