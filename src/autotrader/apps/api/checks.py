"""What the API looks at, and what it makes of it.

A component that was never started is UNKNOWN, with what starts it; one that was and does not answer
is UNHEALTHY. Of feed and broker the trader is the witness: it alone is connected to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from autotrader.adapters.airflow_client import airflow_of
from autotrader.adapters.processes import ProcessTable
from autotrader.apps.api.status import Check, Finding, degraded, healthy, unhealthy, unknown
from autotrader.apps.stack.airflow import API_SERVER
from autotrader.config.settings import Settings
from autotrader.data.freshness import FreshnessGrade, freshness
from autotrader.db.engine import reading
from autotrader.db.schema import HEAD, revision
from autotrader.domain.errors import DependencyError, Unreachable
from autotrader.domain.instruments import Venue
from autotrader.domain.thresholds import API, DEPLOYMENT_CHECKS
from autotrader.domain.trading import Cause, RunStatus, TradingState
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.trading import AccountState, Restriction, TradingRecords

MLFLOW = "mlflow"  # as the local stack calls its process


def checks_of(
    settings: Settings, engine: Engine, records: TradingRecords, clock: WallClock, market_clock: MarketClock
) -> tuple[Check, ...]:
    """All checks, in the order in which they are shown."""
    witness = Witness(records, settings.trading.account, clock)
    return (
        Check("database", lambda: database(engine), is_essential=True),
        Check("trader", lambda: trader(witness), is_essential=True),
        Check("broker", lambda: broker(witness), is_essential=True),
        Check("feed", lambda: feed(witness, settings, market_clock), is_essential=True),
        Check("scheduler", lambda: scheduler(settings), is_essential=False),
        Check("registry", lambda: registry(settings), is_essential=False),
        Check("disk", lambda: disk(settings.home), is_essential=True),
    )


def database(engine: Engine) -> Finding:
    """Whether it answers, and its schema is this version's."""
    found = revision(engine)
    with reading(engine) as connection:
        connection.execute(sa.text("SELECT 1"))
    if found != HEAD:
        return degraded(f"expected the schema's revision {HEAD}, was {found}", revision=found)
    return healthy("answers, and its schema is current", revision=found, dialect=engine.dialect.name)


@dataclass(frozen=True, slots=True)
class Witness:
    """The trader of the settings' account: it holds its lease as long as it lives."""

    records: TradingRecords
    account: str
    clock: WallClock

    def hear(self) -> AccountState | Finding:
        """What a living trader said last; where none lives, why there is nothing to say."""
        state = self.records.state(self.account)
        if state is None:
            return unknown(f"no trader has run for the account {self.account}: `autotrader trade` starts one")
        if state.status is RunStatus.STOPPED:
            return unknown(f"the trader of {self.account} was stopped: `autotrader trade` starts it")
        if (silent := self._silence_seconds()) > 0:
            return unknown(f"the trader, which would know, gave up its lease {silent:.0f} s ago")
        return state

    def is_lost(self) -> bool:
        """Whether there should be a living trader, and is none."""
        state = self.records.state(self.account)
        return state is not None and state.status is RunStatus.RUNNING and self._silence_seconds() > 0

    def _silence_seconds(self) -> float:
        lease = self.records.lease(self.account)
        return (self.clock.now() - lease.expires_at).total_seconds() if lease else 0.0


def trader(witness: Witness) -> Finding:
    """Whether it lives, and what it may do."""
    state = witness.hear()
    if isinstance(state, Finding):
        if witness.is_lost():
            return unhealthy("expected a running trader to renew its lease, was silent: it crashed or hangs")
        return state
    figures = {"state": state.state.value, "source": state.source}
    if state.state is not TradingState.ACTIVE:
        reasons = "; ".join(f"{r.cause.value}: {r.reason}" for r in state.restrictions)
        return degraded(f"{state.state.value}: {reasons}", **figures)
    return healthy(f"trades {state.account}; its bars are {state.source}", **figures)


def broker(witness: Witness) -> Finding:
    """What the trader says of its broker."""
    state = witness.hear()
    if isinstance(state, Finding):
        return state
    if lost := _restriction(state, Cause.BROKER):
        return unhealthy(lost.reason, since=lost.since.isoformat())
    return healthy(f"the trader reports no trouble with {state.venue}", venue=state.venue)


def feed(witness: Witness, settings: Settings, market_clock: MarketClock) -> Finding:
    """Whether bars come: what the trader says, and how old the newest is; a closed market is not stale."""
    state = witness.hear()
    if isinstance(state, Finding):
        return state
    if stale := _restriction(state, Cause.FEED):
        return unhealthy(stale.reason, since=stale.since.isoformat())
    if state.cursor is None:
        return unknown("no bar has arrived yet")
    figures = {"newest_bar": state.cursor.isoformat(), "source": state.source}
    if market_clock.is_replay and state.source != "live":
        return healthy(f"{state.source} bars, the newest of {state.cursor:%F %R} UTC", **figures)
    ages = [
        freshness(venue, settings.strategy.interval, state.cursor, market_clock.now())
        for venue in _venues(state, settings)
    ]
    worst = max(ages, key=lambda age: list(FreshnessGrade).index(age.grade))
    behind = worst.behind.total_seconds() if worst.behind else 0.0
    reason = f"the newest bar is {behind:.0f} s behind the market ({worst.grade.value})"
    figures["behind_seconds"] = str(round(behind))
    match worst.grade:
        case FreshnessGrade.FRESH:
            return healthy(reason, **figures)
        case FreshnessGrade.RECENT:
            return degraded(reason, **figures)
    return unhealthy(reason, **figures)


def scheduler(settings: Settings) -> Finding:
    """Airflow's own word on its parts."""
    is_here = settings.airflow.url is None and settings.airflow.mwaa_environment is None
    if is_here and not _was_started(settings.home, API_SERVER):
        return unknown("Airflow was not started here: `make quickstart` starts it")
    with airflow_of(settings, timeout_seconds=API.check_timeout_seconds) as airflow:
        parts = {name: status for name, status in airflow.health().items() if status != "unknown"}
    ill = [f"{name} {status}" for name, status in parts.items() if status != "healthy"]
    if ill:
        return unhealthy(f"Airflow says: {', '.join(ill)}", **parts)
    return healthy(f"Airflow says: {', '.join(parts)} healthy", **parts)


def registry(settings: Settings) -> Finding:
    """Whether MLflow answers."""
    if settings.mlflow.tracking_uri is None and not _was_started(settings.home, MLFLOW):
        return unknown("MLflow was not started here: `make quickstart` starts it")
    url = f"{settings.mlflow_uri}/health"
    try:
        answer = httpx.get(url, timeout=API.check_timeout_seconds, trust_env=False)
    except httpx.TransportError as error:
        raise Unreachable(f"expected MLflow at {url} to answer, was: {error}") from error
    if not answer.is_success:
        raise DependencyError(f"expected MLflow at {url} to be well, was HTTP {answer.status_code}")
    return healthy("MLflow answers")


def disk(folder: Path) -> Finding:
    """How much is left where our state lies."""
    there = next(parent for parent in (folder.resolve(), *folder.resolve().parents) if parent.exists())
    usage = psutil.disk_usage(str(there))
    share = usage.free / usage.total
    figures = {"free_bytes": usage.free, "total_bytes": usage.total, "free_share": round(share, 4)}
    reason = f"{share:.0%} of the disk is free ({usage.free / 2**30:.1f} GiB)"
    if usage.free < DEPLOYMENT_CHECKS.free_disk_bytes:
        return unhealthy(reason, **figures)
    if share < API.free_disk_share:
        return degraded(reason, **figures)
    return healthy(reason, **figures)


def _restriction(state: AccountState, cause: Cause) -> Restriction | None:
    return next((r for r in state.restrictions if r.cause is cause), None)


def _venues(state: AccountState, settings: Settings) -> tuple[Venue, ...]:
    return (Venue(state.venue),) if state.venue in set(Venue) else settings.venues


def _was_started(home: Path, name: str) -> bool:
    """Whether the local stack keeps it running: a record is there from its start until it is stopped."""
    folder = home / "processes"
    return folder.exists() and ProcessTable(folder).argv(name) is not None
