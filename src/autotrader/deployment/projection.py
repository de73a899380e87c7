"""Registry and front door show what the deployment record says, converged until they agree.

The registry by aliases and statuses, the front door by whom callers get that name no colour.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from autotrader import command
from autotrader.domain.errors import AutotraderError, ExitCode, NotFound
from autotrader.domain.rollout import DIRECT, Color, RolloutState, Stage
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords, DeploymentTarget, Rollout
from autotrader.ports.events import Event, EventLog, EventType
from autotrader.ports.registry import (
    Alias,
    AliasChange,
    ModelRegistry,
    ModelStatus,
    StatusChange,
)
from autotrader.registry.lifecycle import DEAD, why_not_live

log = structlog.get_logger(__name__)

ACTOR = "controller"
EVERY_SECONDS = 5.0


class Projection:
    """Of one strategy's deployment into the model registry and onto the front door.

    Parameters
    ----------
    events : EventLog or None
        Told once of each change by hand that was put back. Only one that converges again and again can
        tell such a change from what is not shown yet: commands have none.

    Attributes
    ----------
    pending : tuple of str
        What they do not show yet, and why; empty when all agree.
    """

    def __init__(
        self,
        records: DeploymentRecords,
        registry: ModelRegistry,
        clock: WallClock,
        *,
        target: DeploymentTarget,
        model: str,
        events: EventLog | None = None,
    ) -> None:
        self._records = records
        self._registry = registry
        self._clock = clock
        self._target = target
        self._model = model
        self._events = events
        self._next = 0.0
        self._shown: Color | None = None
        self._changed_by_hand: Event | None = None
        self.pending: tuple[str, ...] = ()

    def converge(self, *, now: bool = False) -> None:
        """Make them agree, at most every few seconds unless asked for at once.

        One that cannot be reached, or that refuses, holds nothing up: traffic has moved already, and
        what is missing stays in `pending`.
        """
        if not (now or self.is_due):
            return
        pending = []
        for what, show in (("front door", self._show_at_front_door), ("registry", self._show_in_registry)):
            try:
                show()
            except AutotraderError as error:
                pending.append(f"{what}: {error}")
                log.warning("does not agree yet", what=what, reason=str(error))
        self.pending = tuple(pending)
        self._next = self._clock.monotonic() + EVERY_SECONDS  # it may have taken long

    @property
    def is_due(self) -> bool:
        """Whether it is time to converge again."""
        return self._clock.monotonic() >= self._next

    def disagreements(self) -> tuple[str, ...]:
        """What registry and front door do not show; asked, and nothing is changed.

        Raises
        ------
        AutotraderError
            If one of them cannot be asked.
        """
        live = self._records.live()
        sent = None if live is None else self._target.sends_elsewhere(live.candidate)
        door = () if live is None or sent is None else (_sent_elsewhere(live, sent),)
        return (*door, *map(_told, self._differences().changes))

    def why_not_live(self, version: str) -> str | None:
        """Why the registry forbids the version to serve; None if it does not, or cannot be asked now."""
        try:
            return why_not_live(self._registry.get(self._model, version))
        except NotFound as error:
            return str(error)
        except AutotraderError as error:
            log.warning("the registry could not be asked about a version", version=version, reason=str(error))
            return None

    def _show_in_registry(self) -> None:
        found = self._differences()
        if found.changes:
            reason = "; ".join(found.reasons)
            self._registry.change(self._model, found.changes, reason=reason, actor=ACTOR)

    def _show_at_front_door(self) -> None:
        """Callers that name no colour get what is live, whatever a rollout has taken on."""
        live = self._records.live()
        if live is None:
            return
        color = live.candidate
        sent = self._target.sends_elsewhere(color)
        if sent is not None:
            if self._shown is color:
                self._tell_of_change_by_hand(live, sent)
            self._target.point(color)
            log.info("front door points at", color=color.value, version=live.version, was=sent)
        self._shown = color
        self._changed_by_hand = None

    def _tell_of_change_by_hand(self, live: Rollout, sent: str) -> None:
        """Once, though it may take several tries until it is put back."""
        if self._changed_by_hand is None:
            now = self._clock.now()
            self._changed_by_hand = Event(
                key=f"front-door-changed-{live.id}-{now.isoformat()}",
                type=EventType.DEPLOYMENT,
                severity="warning",
                message=f"callers that name no colour were sent to {sent} by hand: they are sent back to"
                f" {live.version} on {live.candidate}",
                actor=ACTOR,
                at=now,
                data={"live": live.version, "color": live.candidate.value, "was": sent},
            )
            log.warning(self._changed_by_hand.message)
        if self._events is not None:
            self._events.record(self._changed_by_hand)

    def _differences(self) -> _Differences:
        live, last = self._records.live(), next(iter(self._records.recent(1)), None)
        found = _Differences(self._registry, self._model)
        if live is not None:
            _show_live(found, live, candidate=last.version if last else None)
            found.withdraw(live.version, f"{live.version} is live")
        match last.state if last else None:
            case RolloutState.WORKING | RolloutState.PAUSED if last:
                _show_rollout(found, last)
            case RolloutState.ROLLING_BACK | RolloutState.ROLLED_BACK if last:
                _show_taken_back(found, last, live)
        return found


def converged(projection: Projection, data: Mapping[str, object], text: str) -> command.Result:
    """The result of a command that moved traffic: exit code 3 says what does not show it yet."""
    projection.converge(now=True)
    pending = projection.pending
    if pending:
        text = f"{text}\nstill to do: {'; '.join(pending)}"
    code = ExitCode.UNREACHABLE if pending else ExitCode.DONE
    return command.Result({**data, "pending": pending}, text, code)


class _Differences:
    """Changes that would make the registry agree, collected with their reasons."""

    def __init__(self, registry: ModelRegistry, model: str) -> None:
        self._registry = registry
        self._model = model
        self.changes: list[StatusChange | AliasChange] = []
        self.reasons: list[str] = []

    def status(
        self, version: str, status: ModelStatus, reason: str, *, unless: frozenset[ModelStatus]
    ) -> None:
        """The version is to have this status, unless it has one of those."""
        held = self._registry.get(self._model, version).status
        if held is not status and held not in unless:
            self._add(StatusChange(version, status), reason)

    def alias(self, alias: Alias, version: str | None, reason: str) -> None:
        """The alias is to point there, or nowhere."""
        if self._holder(alias) != version:
            self._add(AliasChange(alias, version), reason)

    def withdraw(self, version: str, reason: str) -> None:
        """The version is challenger no more; another that waits for its turn stays."""
        if self.is_challenger(version):
            self._add(AliasChange(Alias.CHALLENGER, None, expected=version), reason)

    def is_challenger(self, version: str) -> bool:
        return self._holder(Alias.CHALLENGER) == version

    def may_serve(self, version: str) -> bool:
        return why_not_live(self._registry.get(self._model, version)) is None

    def _holder(self, alias: Alias) -> str | None:
        try:
            return self._registry.get(self._model, alias.value).semver
        except NotFound:
            return None

    def _add(self, change: StatusChange | AliasChange, reason: str) -> None:
        self.changes.append(change)
        if reason not in self.reasons:
            self.reasons.append(reason)


_NONE: frozenset[ModelStatus] = frozenset()
_WAS_LIVE = frozenset({ModelStatus.ARCHIVED})
_SETTLED = DEAD | _WAS_LIVE


def _sent_elsewhere(live: Rollout, sent: str) -> str:
    return f"front door: callers that name no colour go to {sent}, not all to {live.candidate} yet"


def _told(change: StatusChange | AliasChange) -> str:
    match change:
        case StatusChange(version, status):
            return f"registry: {version} is not {status} yet"
        case AliasChange(alias, None):
            return f"registry: {alias} still points at a version"
        case AliasChange(alias, version):
            return f"registry: {alias} does not point at {version} yet"


def _show_live(found: _Differences, live: Rollout, candidate: str | None) -> None:
    why = f"{live.version} is live"
    found.status(live.version, ModelStatus.PRODUCTION, why, unless=_NONE)
    found.alias(Alias.CHAMPION, live.version, why)
    before = live.previous_version
    if before is not None:
        if before != candidate:
            found.status(before, ModelStatus.ARCHIVED, why, unless=_SETTLED)
        found.alias(Alias.PREVIOUS, before if found.may_serve(before) else None, why)


def _show_rollout(found: _Differences, rollout: Rollout) -> None:
    """From its start in a colour the candidate is challenger, and from canary on it takes traffic."""
    if rollout.stage.number < Stage.DEPLOY_GREEN.number:
        return
    status = ModelStatus.CANARY if rollout.stage.number >= Stage.CANARY.number else ModelStatus.STAGING
    why = f"rollout {rollout.id} is at {rollout.stage.value}"
    # What was live before and is returned to stays what it is until it is live again, or is not.
    found.status(rollout.version, status, why, unless=_WAS_LIVE if _is_direct(rollout) else _NONE)
    found.alias(Alias.CHALLENGER, rollout.version, why)


def _show_taken_back(found: _Differences, rollout: Rollout, live: Rollout | None) -> None:
    """One that was at fault failed; another is again what it was, and may be deployed.

    A direct rollout compares nothing, and is the way back to what was live: whatever it came to, it is
    no verdict on the version. A candidate that was shown to be taken back, and failed, and was made
    candidate again since, stays so.
    """
    why = f"rolled back: {rollout.reason}"
    unless = _SETTLED
    if rollout.is_faulty and not _is_direct(rollout):
        status = ModelStatus.FAILED
        if rollout.state is RolloutState.ROLLED_BACK and not found.is_challenger(rollout.version):
            unless = _SETTLED | {ModelStatus.CANDIDATE}
    elif live is not None and rollout.version == live.previous_version:
        status = ModelStatus.ARCHIVED
    else:
        status = ModelStatus.CANDIDATE
    found.status(rollout.version, status, why, unless=unless)
    found.withdraw(rollout.version, why)


def _is_direct(rollout: Rollout) -> bool:
    return rollout.profile == DIRECT.name
