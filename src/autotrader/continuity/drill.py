"""Rehearse a disaster, and measure what it costs."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.continuity import drill_regions, drill_scenarios, telling
from autotrader.continuity.drill_world import Finding, World, make_world
from autotrader.domain.errors import ExitCode, Refused
from autotrader.domain.thresholds import CONTINUITY
from autotrader.ports.clock import WallClock


class Scenario(StrEnum):
    """What is lost."""

    REGION_FAILOVER = "region_failover"
    DATABASE_LOSS = "database_loss"
    LAKE_LOSS = "lake_loss"
    COMPLETE_REBUILD = "complete_rebuild"
    BUCKET_OBJECT_LOSS = "bucket_object_loss"


_SCENARIOS = {
    Scenario.REGION_FAILOVER: drill_regions.region_failover,
    Scenario.DATABASE_LOSS: drill_scenarios.database_loss,
    Scenario.LAKE_LOSS: drill_scenarios.lake_loss,
    Scenario.COMPLETE_REBUILD: drill_scenarios.complete_rebuild,
    Scenario.BUCKET_OBJECT_LOSS: drill_scenarios.bucket_object_loss,
}


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a disaster cost.

    Attributes
    ----------
    rto_seconds : float
        From the loss until all was back and compared, by the clock.
    rpo_seconds : float
        From the oldest row that was lost to the loss; 0 where none was.
    rows_compared, rows_lost, rows_changed : int
        Rows written before the loss: all of them, those not there after it, those that differ.
    late_losses : int
        Of the lost ones, those that the recovery point objective does not allow.
    """

    scenario: Scenario
    passed: bool
    rto_seconds: float
    rto_target_seconds: float
    rpo_seconds: float
    rpo_target_seconds: float
    rows_compared: int
    rows_lost: int
    rows_changed: int
    late_losses: int
    findings: tuple[Finding, ...]


def drill(*, scenario: Scenario, settings: Settings, clock: WallClock) -> command.Result:
    """Rehearse a disaster against a local AWS: lose it, bring it back, compare row by row, measure.

    Everything is made for the drill and removed after it; the platform's own data is not touched. It
    wants a stand-in for AWS (AUTOTRADER_AWS__ENDPOINT_URL on this machine) and never runs against
    AWS itself. What was real and what only spoke AWS's language is said step by step. Exit code 1 if
    a target is missed or a row is not as it was.

    Parameters
    ----------
    scenario : str
        What is lost.
    """
    endpoint = settings.aws.endpoint_url
    if endpoint is None or urlsplit(endpoint).hostname not in ("127.0.0.1", "localhost", "::1"):
        raise Refused(
            "expected AUTOTRADER_AWS__ENDPOINT_URL of a stand-in on this machine, was"
            f" {endpoint or 'AWS itself'}: the drill makes and destroys things"
        )
    folder = Path(tempfile.mkdtemp(prefix="autotrader-drill-"))
    world = None
    try:
        world = make_world(settings, clock, folder)
        _SCENARIOS[scenario](world)
        rehearsed = _judge(scenario, world)
    finally:
        if world is not None:
            world.remove()
        shutil.rmtree(folder, ignore_errors=True)
    telling.drilled(settings, clock, passed=rehearsed.passed, data=command.to_plain(rehearsed))
    code = ExitCode.DONE if rehearsed.passed else ExitCode.FAILED
    return command.Result(rehearsed, render(rehearsed), code)


def _judge(scenario: Scenario, world: World) -> Rehearsal:
    comparison = world.compare()
    rpo = comparison.rpo(world.lost_at)
    rto = timedelta(seconds=world.recovered - world.lost)
    late = comparison.lost_before(world.lost_at - CONTINUITY.rpo)
    passed = (
        rto <= CONTINUITY.rto
        and rpo <= CONTINUITY.rpo
        and not late
        and not comparison.changed
        and not any(finding.fault for finding in world.findings)
    )
    return Rehearsal(
        scenario=scenario,
        passed=passed,
        rto_seconds=round(rto.total_seconds(), 3),
        rto_target_seconds=CONTINUITY.rto.total_seconds(),
        rpo_seconds=round(rpo.total_seconds(), 3),
        rpo_target_seconds=CONTINUITY.rpo.total_seconds(),
        rows_compared=comparison.compared,
        rows_lost=len(comparison.lost),
        rows_changed=len(comparison.changed),
        late_losses=late,
        findings=tuple(world.findings),
    )


def render(rehearsed: Rehearsal) -> str:
    """A table for a terminal."""
    r = rehearsed
    lines = [
        f"{r.scenario}: {'targets met' if r.passed else 'FAILED'}",
        f"  RTO  {r.rto_seconds:10.1f} s  (target {r.rto_target_seconds:.0f} s)",
        f"  RPO  {r.rpo_seconds:10.1f} s  (target {r.rpo_target_seconds:.0f} s)",
        f"  rows {r.rows_compared} compared, {r.rows_lost} lost ({r.late_losses} of them too old to be),"
        f" {r.rows_changed} changed",
        "",
        f"  {'step':<34} {'seconds':>8}  {'how':<14} what",
    ]
    for finding in r.findings:
        what = f"FAULT: {finding.fault}" if finding.fault else finding.told
        lines.append(f"  {finding.step:<34} {finding.seconds:8.2f}  {finding.how:<14} {what}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(command.run(drill))
