"""Every change that a rollout can go through, as values: the new state, who answers, what is told.

Nothing is done here. Whoever applies a change hands it to `DeploymentRecords`, which makes it as
one transaction if the rollout still is as it was seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from autotrader.domain.rollout import Color, Outcome, RolloutState, Stage, scope
from autotrader.ports.deployment import (
    DeploymentRecords,
    Rollout,
    Route,
    Slot,
    SlotState,
    StageRecord,
    require_ready,
)
from autotrader.ports.events import Event, EventType


@dataclass(frozen=True, slots=True)
class Change:
    """A transition with all that belongs to it."""

    new: Rollout
    event: Event
    routes: tuple[Route, ...] = ()
    slots: tuple[Slot, ...] = ()
    seen_slots: tuple[Slot, ...] = ()
    ended: StageRecord | None = None

    def apply(self, records: DeploymentRecords, seen: Rollout) -> Rollout | None:
        """The rollout as it is now; None if somebody else changed it, or its slots, since it was seen."""
        return records.change(
            seen,
            self.new,
            self.event,
            routes=self.routes,
            slots=self.slots,
            seen_slots=self.seen_slots,
            ended=self.ended,
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """What a strategy trades, and which instruments go first."""

    instruments: tuple[str, ...]
    canaries: tuple[str, ...]

    def of(self, stage: Stage) -> tuple[str, ...]:
        return scope(stage, self.instruments, self.canaries)


def event_of(
    rollout: Rollout,
    what: str,
    message: str,
    *,
    actor: str,
    at: datetime,
    severity: str = "info",
    **data: object,
) -> Event:
    """An entry of the business log; the same change told twice is one entry."""
    return Event(
        key=f"rollout/{rollout.id}/{what}",
        type=EventType.DEPLOYMENT,
        severity=severity,
        message=message,
        actor=actor,
        at=at,
        data={
            "rollout": rollout.id,
            "strategy": rollout.strategy_id,
            "version": rollout.version,
            "previous_version": rollout.previous_version,
            "color": rollout.candidate.value,
            "stage": rollout.stage.value,
            **data,
        },
    )


def ask_for(rollout: Rollout, goal: Stage, *, actor: str, at: datetime) -> Change:
    """Somebody wants it to go up to this stage."""
    new = replace(rollout, goal=goal)
    message = f"{rollout.version} may go on to {goal.value}"
    return Change(new, event_of(rollout, f"goal/{goal.value}", message, actor=actor, at=at))


def enter(
    rollout: Rollout,
    stage: Stage,
    routes: Sequence[Route],
    strategy: Scope,
    *,
    supervised_until: datetime,
    actor: str,
    at: datetime,
) -> Change:
    """Begin a stage: the candidate takes on the instruments that the stage adds."""
    new = replace(
        rollout,
        state=RolloutState.WORKING,
        stage=stage,
        stage_outcome=None,
        stage_since=at,
        stage_ended=None,
    )
    owned = strategy.of(stage) if stage.is_watched else ()
    added = _taken_on(routes, owned, rollout, supervised_until, actor, at)
    what = f"{rollout.version} ({rollout.candidate.value}) began {stage.value}"
    message = f"{what} with {', '.join(owned)}" if owned else what
    event = event_of(new, f"begun/{stage.value}", message, actor=actor, at=at, instruments=list(owned))
    return Change(new, event, routes=added)


def end_stage(
    rollout: Rollout,
    outcome: Outcome,
    reason: str,
    evidence: Mapping[str, object],
    *,
    actor: str,
    at: datetime,
) -> Change:
    """A stage passed, or a person must decide; one that failed is `take_back`."""
    state = RolloutState.PAUSED if outcome is Outcome.INCONCLUSIVE else RolloutState.WORKING
    new = replace(rollout, state=state, stage_outcome=outcome, stage_ended=at)
    paused = state is RolloutState.PAUSED
    message = f"{rollout.version}: {rollout.stage.value} {'is undecided' if paused else 'passed'}: {reason}"
    what = f"{'paused' if paused else 'passed'}/{rollout.stage.value}"
    event = event_of(
        rollout, what, message, actor=actor, at=at, severity="warning" if paused else "info", reason=reason
    )
    return Change(new, event, ended=_record(rollout, outcome, reason, evidence, at))


def resume(rollout: Rollout, reason: str, *, actor: str, at: datetime) -> Change:
    """A person judged a paused stage good enough."""
    new = replace(rollout, state=RolloutState.WORKING, stage_outcome=Outcome.PASS, stage_ended=at)
    message = f"{rollout.version}: {rollout.stage.value} was sent on by {actor}: {reason}"
    event = event_of(
        rollout,
        f"resumed/{rollout.stage.value}",
        message,
        actor=actor,
        at=at,
        reason=reason,
    )
    said = f"sent on by {actor}: {reason}"
    return Change(new, event, ended=_record(rollout, Outcome.PASS, said, {"by": actor}, at))


def take_back(
    rollout: Rollout,
    routes: Sequence[Route],
    reason: str,
    evidence: Mapping[str, object],
    *,
    failed: bool,
    actor: str,
    at: datetime,
) -> Change:
    """All traffic returns to the stable colour, in the transaction that says so.

    Parameters
    ----------
    failed : bool
        Whether the candidate did something wrong, rather than a person changing their mind.
    """
    new = replace(
        rollout,
        state=RolloutState.ROLLING_BACK,
        stage_outcome=Outcome.FAIL,
        stage_ended=at,
        reason=reason,
        is_faulty=failed,
    )
    returned = tuple(_returned(route, rollout, actor, at) for route in routes if _is_of(route, rollout))
    to = rollout.previous_version or "nobody: nothing was live before"
    message = f"{rollout.version} is rolled back at {rollout.stage.value}, traffic goes to {to}: {reason}"
    event = event_of(
        rollout,
        "rolling_back",
        message,
        actor=actor,
        at=at,
        severity="critical" if failed else "warning",
        reason=reason,
        failed=failed,
    )
    return Change(new, event, routes=returned, ended=_record(rollout, Outcome.FAIL, reason, evidence, at))


def rolled_back(rollout: Rollout, slots: Mapping[Color, Slot], *, actor: str, at: datetime) -> Change:
    """The candidate's colour is empty again."""
    new = replace(rollout, state=RolloutState.ROLLED_BACK, ended_at=at)
    message = f"{rollout.version} is gone from {rollout.candidate.value}: {rollout.reason}"
    event = event_of(rollout, "rolled_back", message, actor=actor, at=at, severity="warning")
    emptied = empty(rollout.candidate, reason=f"rolled back: {rollout.reason}", actor=actor, at=at)
    return Change(new, event, slots=(emptied,) if rollout.candidate in slots else ())


def complete(
    rollout: Rollout,
    routes: Sequence[Route],
    slots: Mapping[Color, Slot],
    strategy: Scope,
    *,
    warm: timedelta,
    actor: str,
    at: datetime,
) -> Change:
    """The candidate's colour is the stable one; the other is kept warm to return to.

    Raises
    ------
    Refused
        If the candidate is not ready.
    """
    ready = require_ready(slots.values(), rollout)
    new = replace(
        rollout, state=RolloutState.COMPLETED, stage_outcome=Outcome.PASS, stage_ended=at, ended_at=at
    )
    known = {route.instrument for route in routes}
    owned = [*known, *(i for i in strategy.instruments if i not in known)]
    final = tuple(
        Route(instrument, rollout.candidate, None, 0, green_until=None, changed_at=at, changed_by=actor)
        for instrument in sorted(owned)
    )
    left = slots.get(rollout.candidate.other)
    kept = () if left is None or left.version is None else (replace(left, warm_until=at + warm),)
    live = replace(ready, warm_until=None)
    message = f"{rollout.version} is live on {rollout.candidate.value} for {len(final)} instruments"
    return Change(
        new,
        event_of(
            rollout, "completed", message, actor=actor, at=at, instruments=[r.instrument for r in final]
        ),
        routes=final,
        slots=(live, *kept),
        seen_slots=tuple(slots.values()),
        ended=_record(rollout, Outcome.PASS, message, {}, at),
    )


def empty(color: Color, *, reason: str, actor: str, at: datetime) -> Slot:
    """The slot of this colour with nothing in it."""
    return Slot(
        color=color,
        state=SlotState.EMPTY,
        version=None,
        onnx_sha256=None,
        endpoint=None,
        reason=reason,
        changed_at=at,
        changed_by=actor,
    )


def _taken_on(
    routes: Sequence[Route], owned: Sequence[str], rollout: Rollout, until: datetime, actor: str, at: datetime
) -> tuple[Route, ...]:
    known = {route.instrument: route for route in routes}
    added = []
    for instrument in owned:
        route = known.get(instrument)
        if route is not None and _is_of(route, rollout):
            continue
        fallback = None if rollout.previous_version is None else rollout.candidate.other
        added.append(
            Route(
                instrument,
                rollout.candidate,
                fallback,
                0,
                green_until=until,
                changed_at=at,
                changed_by=actor,
            )
        )
    return tuple(added)


def _is_of(route: Route, rollout: Rollout) -> bool:
    return route.rollout_id == rollout.id and route.green_until is not None


def _returned(route: Route, rollout: Rollout, actor: str, at: datetime) -> Route:
    if rollout.previous_version is None:  # a supervision that has ended leaves nobody to answer
        return replace(route, green_until=at, changed_at=at, changed_by=actor)
    return replace(
        route, color=rollout.candidate.other, fallback=None, green_until=None, changed_at=at, changed_by=actor
    )


def _record(
    rollout: Rollout, outcome: Outcome, reason: str, evidence: Mapping[str, object], at: datetime
) -> StageRecord:
    seconds = round((at - rollout.stage_since).total_seconds(), 3)
    return StageRecord(rollout.stage, outcome, reason, seconds, evidence)
