"""The registry shows what the deployment record says: aliases and statuses, converged until they agree."""

from __future__ import annotations

import structlog

from autotrader.domain.errors import AutotraderError, NotFound
from autotrader.domain.rollout import RolloutState, Stage
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords, Rollout
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
    """Of one strategy's deployment into the model registry.

    Attributes
    ----------
    pending : tuple of str
        What the registry does not show yet, and why; empty when all agree.
    """

    def __init__(
        self, records: DeploymentRecords, registry: ModelRegistry, clock: WallClock, *, model: str
    ) -> None:
        self._records = records
        self._registry = registry
        self._clock = clock
        self._model = model
        self._next = 0.0
        self.pending: tuple[str, ...] = ()

    def converge(self, *, now: bool = False) -> None:
        """Make the registry agree, at most every few seconds unless asked for at once.

        A registry that cannot be reached, or that refuses, holds nothing up: traffic has moved
        already, and what is missing stays in `pending`.
        """
        if not now and self._clock.monotonic() < self._next:
            return
        self._next = self._clock.monotonic() + EVERY_SECONDS
        try:
            found = self._differences()
            if found.changes:
                reason = "; ".join(found.reasons)
                self._registry.change(self._model, found.changes, reason=reason, actor=ACTOR)
        except AutotraderError as error:
            self.pending = (f"registry: {error}",)
            log.warning("registry does not agree yet", reason=str(error))
            return
        self.pending = ()

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
                _show_taken_back(found, last)
        return found


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
        if self._holder(Alias.CHALLENGER) == version:
            self._add(AliasChange(Alias.CHALLENGER, None, expected=version), reason)

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
_SETTLED = DEAD | {ModelStatus.ARCHIVED}


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
    found.status(rollout.version, status, why, unless=_NONE)
    found.alias(Alias.CHALLENGER, rollout.version, why)


def _show_taken_back(found: _Differences, rollout: Rollout) -> None:
    """One that was at fault failed; another may be deployed again."""
    why = f"rolled back: {rollout.reason}"
    status = ModelStatus.FAILED if rollout.is_faulty else ModelStatus.CANDIDATE
    found.status(rollout.version, status, why, unless=_SETTLED | {status})
    found.withdraw(rollout.version, why)
