"""The controller: owns rollouts, from the first check until traffic is where it should be.

It remembers nothing that matters. Each tick reads what is recorded, does the one thing that is due,
and records it as a transition, so that a controller that was killed anywhere is continued by the next.
While it lives it renews the supervision of what the candidate answers; once it does not, callers go
back to the stable colour by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from autotrader.config.settings import DeploymentSettings
from autotrader.deployment import transitions
from autotrader.deployment.transitions import Change, Scope
from autotrader.domain.errors import AutotraderError, Refused, Unreachable
from autotrader.domain.rollout import PROFILES, Color, Outcome, RolloutState, Stage, next_stage
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords, DeploymentTarget, Rollout, Slot, SlotState

log = structlog.get_logger(__name__)

ACTOR = "controller"
COMPONENT = "controller"
BEAT_SECONDS = 2.0
# How often the colours that should run are asked whether they do.
PULSE_SECONDS = 2.0
CLEANING_SECONDS = 3600.0
# A colour that could not be stopped is tried again after this long.
STOP_SECONDS = 5.0
# A watch that is over and undecided goes on for this share of its time, and for so many seconds at
# least, before a person is asked.
PATIENCE = 0.5
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class StageResult:
    """What the work of a stage came to.

    Attributes
    ----------
    is_faulty : bool
        Where it failed, whether for what the candidate did, rather than for other reasons.
    """

    outcome: Outcome
    reason: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    is_faulty: bool = True


class StageWork(Protocol):
    """The stages before traffic. Each may be called again after a crash; None means not done yet."""

    def pre_deploy_checks(self, rollout: Rollout) -> StageResult | None: ...

    def deploy(self, rollout: Rollout) -> StageResult | None: ...

    def integration_tests(self, rollout: Rollout) -> StageResult | None: ...

    def revive(self, slot: Slot) -> None:
        """Start again what should run in this colour, and record where it answers."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether work that was begun is still under way, though nobody may ask for it any more."""
        ...


class Watch(Protocol):
    """Both colours answer the same requests, and are compared."""

    def look(self, rollout: Rollout, *, final: bool) -> StageResult:
        """Judge all that is known so far; `final` when the stage's time is over."""
        ...

    def end(self) -> None:
        """Send no further requests."""
        ...


class Convergence(Protocol):
    """Brings registry and front door to show what is recorded: `autotrader.deployment.projection`."""

    @property
    def pending(self) -> tuple[str, ...]:
        """What they do not show yet, and why."""
        ...

    def converge(self, *, now: bool = False) -> None:
        """Make them agree, if it is time to or at once; it may go on beside the ticks."""
        ...

    def why_not_live(self, version: str) -> str | None:
        """Why the registry forbids the version to serve; None if it does not, or cannot be asked now."""
        ...


class Controller:
    """One strategy's; at most one process runs it at a time.

    Parameters
    ----------
    records, target, work, watch, projection
        What it acts through.
    clock : WallClock
    strategy : Scope
    settings : DeploymentSettings
    """

    def __init__(
        self,
        *,
        records: DeploymentRecords,
        target: DeploymentTarget,
        work: StageWork,
        watch: Watch,
        projection: Convergence,
        clock: WallClock,
        strategy: Scope,
        settings: DeploymentSettings,
    ) -> None:
        self._records = records
        self._target = target
        self._work = work
        self._watch = watch
        self._projection = projection
        self._clock = clock
        self._strategy = strategy
        self._settings = settings
        self._unreachable_since: Mapping[tuple[str, Stage], datetime] = {}
        self._next_look = 0.0
        self._next_beat = 0.0
        self._next_pulse = 0.0
        self._next_cleaning = 0.0
        self._next_stop = 0.0
        self._unstopped: str | None = None

    def tick(self) -> None:
        """Do what is due.

        Raises
        ------
        Unreachable
            If the database does not answer: nothing was decided, and supervision may lapse.
        """
        rollout = self._records.active()
        self._beat(rollout)
        self._revive_what_died(rollout)
        self._projection.converge()
        if rollout is None:
            self._watch.end()
            self._stop_what_was_kept_warm()
            self._forget_old_pairs()
            return
        match rollout.state:
            case RolloutState.WORKING if rollout.stage_outcome is None:
                self._do_stage(rollout)
            case RolloutState.WORKING:
                self._go_on(rollout)
            case RolloutState.PAUSED:
                if rollout.stage.is_watched:
                    self._supervise(rollout)
                self._take_back_if_idle(rollout, f"nobody decided on {rollout.stage.value}")
            case RolloutState.ROLLING_BACK:
                self._clear(rollout)
            case RolloutState.ROLLED_BACK | RolloutState.COMPLETED:
                raise AssertionError(f"{rollout.id} is over and was handed out as active")

    # ------------------------------------------------------------------ stages

    def _do_stage(self, rollout: Rollout) -> None:
        if rollout.stage.is_watched:
            self._supervise(rollout)
            return
        if rollout.stage is Stage.FINALIZE:
            self._finalize(rollout)
            return
        result = self._attempt(rollout)
        if result is not None:
            self._end(rollout, result)

    def _attempt(self, rollout: Rollout) -> StageResult | None:
        """Do the stage's work; what cannot be reached may come back, for a while."""
        do = {
            Stage.PRE_DEPLOY_CHECKS: self._work.pre_deploy_checks,
            Stage.DEPLOY_GREEN: self._work.deploy,
            Stage.INTEGRATION_TESTS: self._work.integration_tests,
        }[rollout.stage]
        try:
            result = do(rollout)
        except Unreachable as error:
            of = (rollout.id, rollout.stage)
            since = self._unreachable_since.get(of, self._clock.now())
            self._unreachable_since = {of: since}
            waited = (self._clock.now() - since).total_seconds()
            log.warning("stage waits", stage=rollout.stage.value, reason=str(error), waited_seconds=waited)
            if waited < self._settings.ready_seconds:
                return None
            return StageResult(Outcome.FAIL, f"{error} (for {waited:.0f} s)", is_faulty=False)
        except AutotraderError as error:
            result = StageResult(Outcome.FAIL, str(error), is_faulty=False)
        if result is not None or not self._work.is_busy:  # work that is under way reached nothing yet
            self._unreachable_since = {}
        return result

    def _end(self, rollout: Rollout, result: StageResult) -> None:
        if result.outcome is Outcome.FAIL:
            self._take_back(rollout, result.reason, result.evidence, failed=result.is_faulty)
            return
        now = self._clock.now()
        self._apply(
            rollout,
            transitions.end_stage(
                rollout, result.outcome, result.reason, result.evidence, actor=ACTOR, at=now
            ),
        )

    def _go_on(self, rollout: Rollout) -> None:
        """A stage passed: enter the next one if it was asked for, or keep watch until it is."""
        profile = PROFILES[rollout.profile]
        following = next_stage(rollout.stage, profile, self._strategy.instruments, self._strategy.canaries)
        if following is None:
            raise AssertionError(f"{rollout.id} passed its last stage and is not completed")
        now = self._clock.now()
        if rollout.goal.number >= following.number:
            if not self._may_serve(rollout):
                return
            self._next_look = 0.0
            self._apply(
                rollout,
                transitions.enter(
                    rollout,
                    following,
                    self._records.routes(),
                    self._strategy,
                    supervised_until=now + self._supervision,
                    actor=ACTOR,
                    at=now,
                ),
            )
            return
        if rollout.stage.is_watched:
            self._supervise(rollout)
        self._take_back_if_idle(rollout, f"nobody asked for {following.value}")

    def _take_back_if_idle(self, rollout: Rollout, what: str) -> None:
        """A stage that is over waits for people only so long."""
        now = self._clock.now()
        if now - (rollout.stage_ended or now) > timedelta(hours=self._settings.idle_hours):
            reason = f"{what} within {self._settings.idle_hours:g} h"
            self._take_back(rollout, reason, {}, failed=False)

    # ------------------------------------------------------------------ watches

    def _supervise(self, rollout: Rollout) -> None:
        """Renew what the candidate answers, and look at it when that is due."""
        now = self._clock.now()
        if not self._records.renew(rollout.id, until=now + self._supervision, now=now):
            reason = (
                f"supervision lapsed: callers went back after {self._settings.supervision_seconds:g} s"
                " without a controller"
            )
            self._take_back(rollout, reason, {}, failed=False)
            return
        if self._clock.monotonic() < self._next_look:
            return
        profile = PROFILES[rollout.profile]
        self._next_look = self._clock.monotonic() + profile.check_seconds
        planned = profile.watch_seconds[rollout.stage]
        watched = (now - rollout.stage_since).total_seconds()
        result = self._look(rollout, final=watched >= planned)
        log.info("look", stage=rollout.stage.value, outcome=result.outcome.value, reason=result.reason)
        if result.outcome is Outcome.FAIL:
            self._take_back(rollout, result.reason, result.evidence, failed=result.is_faulty)
            return
        passed = result.outcome is Outcome.PASS
        patience = 0.0 if passed else max(PATIENCE * planned, PATIENCE_SECONDS)
        if rollout.stage_outcome is None and watched >= planned + patience:
            self._end(rollout, result)

    def _look(self, rollout: Rollout, *, final: bool) -> StageResult:
        """What cannot be looked at is not known to be bad, and never passes."""
        try:
            return self._watch.look(rollout, final=final)
        except AutotraderError as error:
            return StageResult(Outcome.INCONCLUSIVE, f"nobody could look: {error}")

    # ------------------------------------------------------------------ ends

    def _may_serve(self, rollout: Rollout) -> bool:
        """Whether it may go on; a candidate that was marked as failed meanwhile is taken back."""
        why_not = self._projection.why_not_live(rollout.version)
        if why_not is not None:
            reason = f"expected a version that may serve, was {rollout.version}: {why_not}"
            self._take_back(rollout, reason, {}, failed=False)
        return why_not is None

    def _finalize(self, rollout: Rollout) -> None:
        if not self._may_serve(rollout):
            return
        try:
            change = transitions.complete(
                rollout,
                self._records.routes(),
                self._records.slots(),
                self._strategy,
                warm=timedelta(hours=self._settings.warm_hours),
                actor=ACTOR,
                at=self._clock.now(),
            )
        except Refused as error:
            self._take_back(rollout, str(error), {}, failed=False)
            return
        if self._apply(rollout, change):
            self._watch.end()
            self._projection.converge(now=True)

    def _take_back(
        self, rollout: Rollout, reason: str, evidence: Mapping[str, object], *, failed: bool
    ) -> None:
        change = transitions.take_back(
            rollout,
            self._records.routes(),
            reason,
            evidence,
            failed=failed,
            actor=ACTOR,
            at=self._clock.now(),
        )
        if self._apply(rollout, change):
            self._projection.converge(now=True)

    def _clear(self, rollout: Rollout) -> None:
        """Traffic is back already: stop the candidate, and say that it is over."""
        self._watch.end()
        if self._work.is_busy:  # it might start after it was stopped
            return
        if not self._stop(rollout.candidate):
            return
        change = transitions.rolled_back(rollout, self._records.slots(), actor=ACTOR, at=self._clock.now())
        if self._apply(rollout, change):
            self._projection.converge(now=True)

    def _revive_what_died(self, rollout: Rollout | None) -> None:
        """Of the colours that should run; a candidate that dies is judged, not helped."""
        if self._clock.monotonic() < self._next_pulse:
            return
        self._next_pulse = self._clock.monotonic() + PULSE_SECONDS
        candidate = None if rollout is None else rollout.candidate
        for color, slot in self._records.slots().items():
            if slot.state is SlotState.READY and color is not candidate:
                health = self._target.health(color)
                if not health.live:
                    log.warning("a colour died", color=color.value, reason=health.reason)
                    try:
                        self._work.revive(slot)
                    except AutotraderError as error:
                        log.error("it could not be started again", color=color.value, reason=str(error))

    def _stop_what_was_kept_warm(self) -> None:
        """Recorded first, so that nobody switches to a colour that is being stopped."""
        for color, slot in self._records.slots().items():
            stopping = self._release(slot)
            if stopping is not None and self._stop(color):
                now, reason = self._clock.now(), stopping.reason
                self._records.replace_slot(
                    stopping, transitions.empty(color, reason=reason, actor=ACTOR, at=now)
                )

    def _release(self, slot: Slot) -> Slot | None:
        """The slot of a colour that is to be stopped, now or since before a crash; None to leave it."""
        if slot.state is SlotState.STOPPING:
            return slot
        now = self._clock.now()
        if slot.warm_until is None or slot.warm_until > now:
            return None
        reason = f"{slot.version} was kept warm until {slot.warm_until:%F %T} UTC"
        stopping = replace(slot, state=SlotState.STOPPING, reason=reason, changed_at=now, changed_by=ACTOR)
        return stopping if self._records.replace_slot(slot, stopping, idle=True) else None

    def _stop(self, color: Color) -> bool:
        """Whether it could be stopped: traffic is elsewhere already, so that it can wait."""
        if self._clock.monotonic() < self._next_stop:
            return False
        try:
            self._target.stop(color)
        except AutotraderError as error:
            self._next_stop = self._clock.monotonic() + STOP_SECONDS
            self._unstopped = f"{color}: {error}"
            log.error("a colour could not be stopped", color=color.value, reason=str(error))
            return False
        self._unstopped = None
        return True

    def _forget_old_pairs(self) -> None:
        if self._clock.monotonic() < self._next_cleaning:
            return
        self._next_cleaning = self._clock.monotonic() + CLEANING_SECONDS
        kept = timedelta(days=self._settings.keep_pairs_days)
        count = self._records.forget_pairs(self._clock.now() - kept)
        if count:
            log.info("old pairs forgotten", count=count)

    # ------------------------------------------------------------------ the rest

    @property
    def _supervision(self) -> timedelta:
        return timedelta(seconds=self._settings.supervision_seconds)

    def _apply(self, rollout: Rollout, change: Change) -> bool:
        applied = change.apply(self._records, rollout)
        if applied is None:
            log.info("rollout changed meanwhile", rollout=rollout.id, stage=rollout.stage.value)
            return False
        log.info(change.event.message, rollout=rollout.id)
        return True

    def _beat(self, rollout: Rollout | None) -> None:
        if self._clock.monotonic() < self._next_beat:
            return
        self._next_beat = self._clock.monotonic() + BEAT_SECONDS
        doing = "idle" if rollout is None else f"{rollout.version}: {rollout.stage.value}"
        pending = [*self._projection.pending, *filter(None, (self._unstopped,))]
        self._records.beat(COMPONENT, self._clock.now(), {"doing": doing, "pending": pending})
