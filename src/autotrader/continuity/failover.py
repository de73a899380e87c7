"""Go on in the other region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

import sqlalchemy as sa
import structlog

from autotrader import command
from autotrader.adapters.aws import client
from autotrader.adapters.aws_database import RegionDatabase
from autotrader.adapters.aws_region import Region
from autotrader.adapters.ecs_front_door import FrontDoor
from autotrader.adapters.ecs_releases import S3Releases
from autotrader.adapters.ecs_services import ColourServices
from autotrader.adapters.ecs_target import EcsTarget
from autotrader.adapters.objects import open_objects
from autotrader.config.actor import operator
from autotrader.config.aws_names import Bucket
from autotrader.config.settings import Settings
from autotrader.continuity import journal
from autotrader.continuity.confirmation import require_confirmation
from autotrader.continuity.failover_steps import DATABASE, Failover
from autotrader.continuity.journal import Journal
from autotrader.continuity.regions import names_in, other_region, settings_in
from autotrader.domain.errors import AutotraderError, ExitCode, Refused
from autotrader.domain.thresholds import CONTINUITY
from autotrader.ports.clock import WallClock
from autotrader.registry.lifecycle import require_reason

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StepTaken:
    """A step, what came of it, and how long it took."""

    name: str
    seconds: float
    data: dict[str, object] = field(default_factory=dict)


def failover(
    *,
    to_region: str,
    reason: str,
    lost_at: datetime | None = None,
    accept_data_loss: bool = False,
    trader_is_stopped: bool = False,
    take_over: bool = False,
    confirm: str | None = None,
    dry_run: bool = False,
    settings: Settings,
    clock: WallClock,
) -> command.Result:
    """Go on in the other region, from its newest snapshot of the database; the same command goes back.

    Stops the region that is left where it can be reached, restores the database, starts what was last
    live and passed its gates, turns the names round, and last the trader, halted. Every step looks at
    what is and is written down in the region gone to: after a failure, run it again. Exit code 3 if
    something is pending, or a region does not answer.

    Parameters
    ----------
    to_region : str
        The one to go to: home or the DR region.
    reason : str
        Why; kept in the event log.
    lost_at : datetime
        Since when the other region is lost; default: now.
    accept_data_loss : bool
        Go on with a snapshot that is older than the recovery point objective.
    trader_is_stopped : bool
        I vouch that the other region's trader can send no orders: its keys are revoked.
    take_over : bool
        The process that failed over before me is dead.
    confirm : str
        The region gone to, for automation; typed otherwise.
    dry_run : bool
        Check everything, and change nothing.
    """
    reason = require_reason(reason)
    from_region = other_region(settings, to_region)
    actor = operator()
    work = assemble(
        settings,
        clock,
        from_region=from_region,
        to_region=to_region,
        actor=actor,
        reason=reason,
        lost_at=lost_at or clock.now(),
        accept_data_loss=accept_data_loss,
        trader_is_stopped=trader_is_stopped,
    )
    if dry_run:
        checked = work.check()
        names = [name for name, _ in work.steps()]
        text = f"would fail over from {from_region} to {to_region}: {', '.join(names)}\n  {checked}"
        return command.Result({"from": from_region, "to": to_region, "steps": names, "check": checked}, text)
    require_confirmation(to_region, confirm, what=f"everything moves from {from_region} to {to_region}")
    kept = journal_of(settings, to_region, clock, actor)
    return carry_out(work, kept, clock, take_over=take_over)


def assemble(
    settings: Settings,
    clock: WallClock,
    *,
    from_region: str,
    to_region: str,
    actor: str,
    reason: str,
    lost_at: datetime,
    accept_data_loss: bool = False,
    trader_is_stopped: bool = False,
    urls: Callable[[str], str] | None = None,
) -> Failover:
    """The failover with everything that it needs; nothing is asked of AWS yet."""
    there = settings_in(settings, to_region)
    names = names_in(settings, to_region)
    target = EcsTarget(there, S3Releases(there))
    door = FrontDoor(client(there.aws, "elbv2"), names)
    return Failover(
        settings=settings,
        origin=Region(settings.aws, names_in(settings, from_region), from_region),
        target=Region(settings.aws, names, to_region),
        database=RegionDatabase(settings.aws, names, to_region),
        releases=open_objects(f"s3://{names.bucket(Bucket.MODELS)}/releases", there.aws),
        backups=open_objects(f"s3://{names.bucket(Bucket.BACKUPS)}/sets", there.aws),
        colours=ColourServices(client(there.aws, "ecs"), names),
        clock=clock,
        actor=actor,
        reason=reason,
        rpo=CONTINUITY.rpo,
        lost_at=lost_at,
        accept_data_loss=accept_data_loss,
        trader_is_stopped=trader_is_stopped,
        urls=urls or (lambda endpoint: _url_at(settings, endpoint)),
        health=target.health,
        endpoint=lambda: settings.deployment.ecs_endpoint or door.endpoint(),
        beat=lambda _: None,
        occasion=f"failover-{uuid4().hex[:12]}",
    )


def journal_of(settings: Settings, region: str, clock: WallClock, actor: str) -> Journal:
    """In the backups of the region gone to: the other one may be lost."""
    bucket = names_in(settings, region).bucket(Bucket.BACKUPS)
    return Journal(open_objects(f"s3://{bucket}", settings_in(settings, region).aws), region, clock, by=actor)


def carry_out(work: Failover, kept: Journal, clock: WallClock, *, take_over: bool = False) -> command.Result:
    """Take every step, and write each down; a failover that was begun is gone on with.

    Raises
    ------
    Refused
        If somebody else is at it.
    """
    before = kept.begin(take_over=take_over, data={"reason": work.reason, "to": work.target.name})
    _go_on(work, before)
    kept.write(journal.DONE, "resume" if before else "begin", {"occasion": work.occasion})
    work.beat = lambda what: kept.write(journal.DONE, f"waiting for {what}")
    taken: list[StepTaken] = []
    try:
        for name, act in work.steps():
            began = clock.monotonic()
            log.info("step", step=name, region=work.target.name)
            try:
                data = dict(act())
            except AutotraderError as error:
                kept.write(journal.FAILED, name, {"error": str(error)})
                log.error("step failed; the same command goes on from here", step=name)
                raise
            kept.write(journal.DONE, name, data)
            taken.append(StepTaken(name, round(clock.monotonic() - began, 3), data))
        kept.write(journal.PAUSED if work.pending else journal.ENDED, "end", {"pending": work.pending})
    finally:
        work.close()
    return _told(work, taken)


def _go_on(work: Failover, before: list[journal.Entry]) -> None:
    for entry in before:
        if occasion := entry.data.get("occasion"):
            work.occasion = str(occasion)
        if entry.what == journal.DONE and (snapshot := entry.data.get("snapshot")):
            work.snapshot = str(snapshot)
        if entry.what == journal.DONE and (made := entry.data.get("set")):
            work.backup_set = str(made)
            work.set_is_back = work.set_is_back or entry.step == DATABASE


def _url_at(settings: Settings, endpoint: str) -> str:
    host, _, port = endpoint.partition(":")
    url = sa.make_url(settings.database_url)
    if url.get_backend_name() == "sqlite":
        raise Refused("expected AUTOTRADER_DATABASE__URL of the database on RDS, was SQLite")
    return url.set(host=host, port=int(port)).render_as_string(hide_password=False)


def _told(work: Failover, taken: list[StepTaken]) -> command.Result:
    seconds = sum(step.seconds for step in taken)
    lines = [f"{step.name:<12} {step.seconds:8.1f} s  {command.to_plain(step.data)}" for step in taken]
    lines.append(f"{work.target.name} has taken over in {seconds:.1f} s")
    lines += [f"PENDING: {what}" for what in work.pending]
    data = {"to": work.target.name, "seconds": round(seconds, 3), "steps": taken, "pending": work.pending}
    return command.Result(data, "\n".join(lines), ExitCode.UNREACHABLE if work.pending else ExitCode.DONE)


if __name__ == "__main__":
    raise SystemExit(command.run(failover))
