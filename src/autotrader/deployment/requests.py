"""What commands and DAG tasks ask of a deployment, and how they hear what came of it.

A request is a durable change of the rollout; the controller acts on it. Taking traffic back is the
exception: whoever asks for it does it, so that it needs nobody else to be alive.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from autotrader.deployment import transitions
from autotrader.deployment.transitions import Scope
from autotrader.domain.errors import NotFound, Refused, Unreachable
from autotrader.domain.rollout import PROFILES, Color, Outcome, Profile, RolloutState, Stage, next_stage
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords, Rollout, StageRecord
from autotrader.ports.registry import ModelRegistry, ModelVersion
from autotrader.registry.lifecycle import why_not_live

LATEST = "latest"
# A controller that has not been heard of for so long is taken for dead.
CONTROLLER_SILENCE_SECONDS = 30.0
POLL_SECONDS = 0.1
_TRIES = 20


@dataclass(frozen=True, slots=True)
class StageVerdict:
    """What is known of a stage that was asked for.

    Attributes
    ----------
    is_known : bool
        False while the stage is still to come or under way.
    outcome : Outcome or None
    reason : str
    """

    is_known: bool
    outcome: Outcome | None
    reason: str
    record: StageRecord | None = None


def deployable(registry: ModelRegistry, model: str, version: str) -> ModelVersion:
    """The version, or for `latest` the newest that passed its gates and did not fail since.

    Raises
    ------
    NotFound
        If there is none.
    Refused
        If it must not serve.
    """
    if version == LATEST:
        for candidate in registry.list(model):
            if why_not_live(candidate) is None:
                return candidate
        raise NotFound(f"expected a version of {model} that passed its gates, was none: train one")
    found = registry.get(model, version)
    reason = why_not_live(found)
    if reason is not None:
        raise Refused(f"expected a version that may serve, was {found.semver}: {reason}")
    return found


def begin(
    records: DeploymentRecords,
    *,
    strategy_id: str,
    version: str,
    profile: Profile,
    goal: Stage,
    reason: str,
    actor: str,
    now: datetime,
    rollout_id: str | None = None,
    first: Stage = Stage.PRE_DEPLOY_CHECKS,
) -> Rollout:
    """Record a new rollout; the controller takes it up. The same id again finds what was begun.

    Raises
    ------
    Refused
        If another is under way, or the version is live already.
    """
    if rollout_id is not None:
        try:
            return records.find(rollout_id)
        except NotFound:
            pass
    live = records.live()
    if live is not None and live.version == version:
        raise Refused(f"{version} is live already, on {live.candidate.value}: nothing was begun")
    rollout = Rollout(
        id=rollout_id or f"{now:%Y%m%dT%H%M%S}-{uuid4().hex[:8]}",
        strategy_id=strategy_id,
        version=version,
        previous_version=live.version if live else None,
        candidate=live.candidate.other if live else Color.BLUE,
        profile=profile.name,
        state=RolloutState.WORKING,
        stage=first,
        stage_outcome=None,
        goal=goal,
        revision=0,
        requested_by=actor,
        reason=reason,
        created_at=now,
        stage_since=now,
    )
    message = f"{version} is to be rolled out by {actor} ({profile.name}): {reason}"
    event = transitions.event_of(rollout, "begun", message, actor=actor, at=now, profile=profile.name)
    return records.begin(rollout, event)


def go_to(records: DeploymentRecords, rollout_id: str, goal: Stage, *, actor: str, now: datetime) -> Rollout:
    """Let the rollout go on up to this stage; asked twice, it is asked once.

    Raises
    ------
    NotFound
    """
    for _ in range(_TRIES):
        rollout = records.find(rollout_id)
        ends = rollout.state.is_over or rollout.state is RolloutState.ROLLING_BACK
        if ends or rollout.goal.number >= goal.number:
            return rollout
        changed = transitions.ask_for(rollout, goal, actor=actor, at=now).apply(records, rollout)
        if changed is not None:
            return changed
    raise Unreachable(
        f"expected to change rollout {rollout_id}, was changed by others all the time: try again"
    )


def send_on(records: DeploymentRecords, reason: str, *, actor: str, now: datetime) -> Rollout:
    """Let a paused rollout go on: a person judged what the watch could not.

    Raises
    ------
    Refused
        If none is paused.
    """
    for _ in range(_TRIES):
        rollout = records.active()
        if rollout is None or rollout.state is not RolloutState.PAUSED:
            state = "none under way" if rollout is None else rollout.state.value
            raise Refused(f"expected a paused rollout, was {state}")
        changed = transitions.resume(rollout, reason, actor=actor, at=now).apply(records, rollout)
        if changed is not None:
            return changed
    raise Unreachable("expected to change the rollout, was changed by others all the time: try again")


def verdict(records: DeploymentRecords, rollout_id: str, stage: Stage, strategy: Scope) -> StageVerdict:
    """What came of this stage so far.

    A stage that is skipped, since it takes on no further instrument, passes with the one before.
    """
    rollout = records.find(rollout_id)
    ended = {record.stage: record for record in records.stages(rollout_id)}
    record = ended.get(stage)
    if rollout.state in (RolloutState.ROLLING_BACK, RolloutState.ROLLED_BACK):
        return StageVerdict(True, Outcome.FAIL, rollout.reason, record)
    if record is not None and record.outcome is Outcome.PASS:
        return StageVerdict(True, Outcome.PASS, record.reason, record)
    if _reached(rollout, strategy) > stage.number:
        return StageVerdict(True, Outcome.PASS, "skipped: it takes on no further instrument")
    waiting = "waits for a person" if rollout.state is RolloutState.PAUSED else "under way"
    return StageVerdict(False, None, f"{rollout.stage.value} is {waiting}", record)


def _reached(rollout: Rollout, strategy: Scope) -> int:
    """The stage that it is at, or that follows the one that it passed."""
    if rollout.stage_outcome is not Outcome.PASS:
        return rollout.stage.number
    profile = PROFILES[rollout.profile]
    following = next_stage(rollout.stage, profile, strategy.instruments, strategy.canaries)
    return rollout.stage.number if following is None else following.number


def take_back(
    records: DeploymentRecords, reason: str, *, actor: str, now: Callable[[], datetime]
) -> Rollout | None:
    """Return all traffic of the rollout under way to what was live; None if there is none.

    Traffic is back when this returns. The controller clears the rest away.
    """
    for _ in range(_TRIES):
        rollout = records.active()
        if rollout is None or rollout.state is RolloutState.ROLLING_BACK:
            return rollout
        change = transitions.take_back(
            rollout, records.routes(), reason, {"by": actor}, failed=False, actor=actor, at=now()
        )
        changed = change.apply(records, rollout)
        if changed is not None:
            return changed
    raise Unreachable("expected to roll back, was changed by others all the time: try again")


def is_warm(records: DeploymentRecords, color: Color, version: str) -> bool:
    """Whether the colour can take traffic with this version at once, as far as is recorded."""
    slot = records.slots().get(color)
    return slot is not None and slot.serves(version)


def require_controller(records: DeploymentRecords, now: datetime) -> None:
    """Raise Unreachable unless a controller was heard of lately."""
    heard = records.heartbeat("controller")
    if heard is None:
        raise Unreachable(
            "expected a controller at work, was none ever: start one (python -m autotrader.apps.controller)"
        )
    silent = (now - heard[0]).total_seconds()
    if silent > CONTROLLER_SILENCE_SECONDS:
        raise Unreachable(
            f"expected a controller at work, was last heard of {silent:.0f} s ago: start one"
            " (python -m autotrader.apps.controller); what was asked for is kept"
        )


def wait(
    records: DeploymentRecords,
    rollout_id: str,
    stage: Stage,
    strategy: Scope,
    *,
    clock: WallClock,
    timeout_seconds: float,
) -> StageVerdict:
    """Wait for the verdict of a stage.

    Raises
    ------
    Unreachable
        If there is none in time, or no controller is at work.
    """
    deadline = clock.monotonic() + timeout_seconds
    silent_since: float | None = None
    while True:
        found = verdict(records, rollout_id, stage, strategy)
        if found.is_known:
            return found
        try:
            require_controller(records, clock.now())
            silent_since = None
        except Unreachable:
            silent_since = silent_since or clock.monotonic()
            if clock.monotonic() - silent_since > CONTROLLER_SILENCE_SECONDS / 3:
                raise
        if clock.monotonic() >= deadline:
            raise Unreachable(
                f"expected {stage.value} to end within {timeout_seconds:g} s, {found.reason}: it goes on;"
                " python -m autotrader.deployment.get_status shows it"
            )
        time.sleep(POLL_SECONDS)
