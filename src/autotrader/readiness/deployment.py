"""Stage 7: what is live, what is rolling out, and who trades on it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy.engine import Engine

from autotrader.adapters.local_target import PROCESS
from autotrader.apps.exporter.components import all_checks
from autotrader.config.settings import Environment, Settings
from autotrader.data.lake import Lake
from autotrader.deployment.check_agreement import check_agreement
from autotrader.domain.rollout import PROFILES, RolloutState
from autotrader.domain.thresholds import READINESS
from autotrader.ports.alerts import Alerts
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.deployment import DeploymentRecords, DeploymentTarget, Rollout
from autotrader.ports.registry import ModelRegistry
from autotrader.ports.trading import TradingRecords
from autotrader.readiness.findings import Finding, State, failed, not_applicable, of_component, ok, warning
from autotrader.readiness.registry import OF_TRAFFIC

_COMPONENTS = ("trader", "broker", "feed", "controller", "prediction-blue", "prediction-green")
_STATUS = "python -m autotrader.deployment.get_status"


def look(
    *,
    settings: Settings,
    engine: Engine,
    records: DeploymentRecords,
    trading: TradingRecords,
    target: DeploymentTarget,
    registry: ModelRegistry,
    lake: Lake,
    alerts: Alerts,
    clock: WallClock,
    market_clock: MarketClock,
) -> Iterator[Finding]:
    """Whether a version is live and served, no rollout is stuck, and trader and controller are at work."""
    live = records.live()
    if live is None:
        yield failed("live version", "0 versions are live", "autotrader deploy --version V --reason WHY")
    else:
        yield ok("live version", f"{live.version} on {live.candidate}, since {live.ended_at:%F %R} UTC")
    yield _rollout(records.active(), settings, clock.now())
    agreed = check_agreement(
        settings=settings, records=records, registry=registry, target=target, clock=clock
    ).data
    assert isinstance(agreed, dict)  # noqa: S101 - what it returns
    yield _traffic([what for what in agreed["pending"] if what.startswith(OF_TRAFFIC)])
    checks = all_checks(settings, engine, trading, records, target, alerts, lake, clock, market_clock)
    for check in checks:
        if check.name in _COMPONENTS:
            # Nobody needs a trader to develop.
            is_needed = check.name == "trader" and settings.environment is Environment.PRODUCTION
            yield of_component(
                check.name, check.look, f"make status; make logs SERVICE={_service(check.name)}",
                unknown=State.FAILED if is_needed else State.NOT_APPLICABLE,
            )  # fmt: skip


def _service(component: str) -> str:
    """What `make logs` calls it; of broker and feed the trader tells."""
    color = component.removeprefix("prediction-")
    if color != component:
        return f"{color}-{PROCESS}"
    return component if component == "controller" else "trader"


def _traffic(pending: list[str]) -> Finding:
    if pending:
        return failed("traffic", f"{len(pending)} not as recorded: {'; '.join(pending)}", _STATUS)
    return ok("traffic", "goes to whom the records say, 0 instruments astray")


def _rollout(rollout: Rollout | None, settings: Settings, now: datetime) -> Finding:
    """A stage has its watch, the time to get ready, and some more; then it is stuck."""
    if rollout is None:
        return not_applicable("rollout", "none is under way")
    hours = (now - (rollout.stage_ended or rollout.stage_since)).total_seconds() / 3600
    back = f"`autotrader emergency-rollback --version {rollout.version} --reason REASON`"
    where = f"{rollout.version} is {rollout.state.value} at {rollout.stage.value} for {hours:.1f} h"
    if rollout.state is RolloutState.PAUSED:
        todo = f"{_STATUS}, then `autotrader resume-rollout` or {back}"
        idle = settings.deployment.idle_hours
        return warning("rollout", f"{where}: a person decides, or it is taken back after {idle:g} h", todo)
    if rollout.stage_ended is not None:
        limit = settings.deployment.idle_hours * 3600
    else:
        watch = PROFILES[rollout.profile].watch_seconds.get(rollout.stage, 0.0)
        limit = watch + settings.deployment.ready_seconds
    limit *= READINESS.rollout_patience
    if hours * 3600 > limit:
        todo = f"{_STATUS}; make logs SERVICE=controller; {back} takes it back"
        return failed("rollout", f"{where}, expected at most {limit / 3600:.1f} h: it is stuck", todo)
    return ok("rollout", where)
