"""What is live, what is rolling out, and how both colours are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from autotrader import command
from autotrader.deployment.report import StageLine, lines_of
from autotrader.deployment.requests import CONTROLLER_SILENCE_SECONDS
from autotrader.domain.rollout import Color
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import (
    DeploymentRecords,
    DeploymentTarget,
    Rollout,
    Route,
    Slot,
    SlotHealth,
    SlotState,
)


@dataclass(frozen=True, slots=True)
class InstrumentRoute:
    """Who answers for an instrument now."""

    instrument: str
    color: Color | None
    version: str | None
    weights: Mapping[str, int]
    epoch: int
    green_until: datetime | None
    since: datetime
    by: str


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """All of a deployment that is recorded, and what both colours say of themselves.

    Attributes
    ----------
    active_color, active_version
        What is live, apart from what a rollout under way has taken on.
    rollout : Rollout or None
        Under way.
    last : Rollout or None
        The newest that is over.
    controller : str
        `at work`, or since when it is silent.
    pending : sequence of str
        What the controller, when last heard of, had yet to bring about: in the registry, at the front
        door, in a colour.
    """

    active_color: Color | None
    active_version: str | None
    since: datetime | None
    by: str | None
    stage: str | None
    rollout: Rollout | None
    stages: Sequence[StageLine]
    last: Rollout | None
    routes: Sequence[InstrumentRoute]
    slots: Mapping[str, Slot]
    health: Mapping[str, SlotHealth]
    controller: str
    pending: Sequence[str]


def status_of(records: DeploymentRecords, target: DeploymentTarget, now: datetime) -> DeploymentStatus:
    """Read everything; a colour that does not answer is part of the answer."""
    live, rollout, slots = records.live(), records.active(), records.slots()
    shown = rollout or next(iter(records.recent(1)), None)
    return DeploymentStatus(
        active_color=live.candidate if live else None,
        active_version=live.version if live else None,
        since=live.ended_at if live else None,
        by=live.requested_by if live else None,
        stage=rollout.stage.value if rollout else None,
        rollout=rollout,
        stages=lines_of(records, shown.id) if shown else (),
        last=next((r for r in records.recent(10) if r.state.is_over), None),
        routes=[_route(route, slots, now) for route in records.routes()],
        slots={color.value: slot for color, slot in slots.items()},
        health={
            color.value: target.health(color)
            for color, slot in slots.items()
            if slot.state is not SlotState.EMPTY
        },
        controller=_controller(records, now),
        pending=_pending(records),
    )


def get_status(*, records: DeploymentRecords, target: DeploymentTarget, clock: WallClock) -> command.Result:
    """Which colour and version is live, what is rolling out, who answers for what, how both colours are."""
    status = status_of(records, target, clock.now())
    return command.Result(status, render(status))


def render(status: DeploymentStatus) -> str:
    """For a terminal."""
    if status.active_version:
        lines = [
            f"live        {status.active_version} on {status.active_color}, since {status.since:%F %T} UTC"
            f" by {status.by}"
        ]
    else:
        lines = ["live        nothing"]
    if status.rollout:
        r = status.rollout
        lines.append(
            f"rolling out {r.version} on {r.candidate}: {r.stage.value} ({r.state.value}, {r.profile}), since"
            f" {r.stage_since:%F %T} UTC by {r.requested_by}"
        )
    elif status.last:
        lines.append(f"last        {status.last.version}: {status.last.state.value}: {status.last.reason}")
    lines += [f"  {line}" for line in status.stages]
    for color, slot in status.slots.items():
        health = status.health.get(color)
        said = "" if health is None else f"; {'ready' if health.ready else 'NOT ready'}: {health.reason}"
        lines.append(f"{color:<11} {slot.version or '-'} ({slot.state.value}{said})")
    lines += [
        f"  {route.instrument:<22} {route.color or 'nobody'} {route.version or ''} epoch {route.epoch}"
        + (f", supervised until {route.green_until:%T}" if route.green_until else "")
        for route in status.routes
    ]
    lines += [f"pending     {what}" for what in status.pending]
    return "\n".join([*lines, f"controller  {status.controller}"])


def _route(route: Route, slots: Mapping[Color, Slot], now: datetime) -> InstrumentRoute:
    owner = route.owner(now)
    return InstrumentRoute(
        instrument=route.instrument,
        color=owner,
        version=slots[owner].version if owner is not None else None,
        weights={color.value: 100 if color is owner else 0 for color in Color},
        epoch=route.epoch,
        green_until=route.green_until,
        since=route.changed_at,
        by=route.changed_by,
    )


def _pending(records: DeploymentRecords) -> tuple[str, ...]:
    heard = records.heartbeat("controller")
    pending = () if heard is None else heard[1].get("pending", ())
    return tuple(map(str, pending)) if isinstance(pending, list | tuple) else ()


def _controller(records: DeploymentRecords, now: datetime) -> str:
    heard = records.heartbeat("controller")
    if heard is None:
        return "never started"
    at, data = heard
    silent = (now - at).total_seconds()
    if silent > CONTROLLER_SILENCE_SECONDS:
        return f"SILENT for {silent:.0f} s"
    return f"at work ({data.get('doing', '')})"


if __name__ == "__main__":
    raise SystemExit(command.run(get_status))
