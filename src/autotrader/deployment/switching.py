"""Traffic from one colour to the other without a rollout's watches: back, or by an operator's hand."""

from __future__ import annotations

from datetime import timedelta

from autotrader.config.settings import Settings
from autotrader.deployment import requests, transitions
from autotrader.deployment.transitions import Scope
from autotrader.domain.errors import Refused
from autotrader.domain.rollout import DIRECT, Stage
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords, DeploymentTarget, Rollout

_TRIES = 20


def scope_of(settings: Settings) -> Scope:
    """What the strategy of these settings trades, as `venue:symbol`, and which symbols go first."""
    return Scope(
        tuple(str(instrument) for instrument in settings.instruments()),
        settings.deployment.canary_instruments,
    )


class Switching:
    """Moves all traffic at once, as one durable change."""

    def __init__(
        self, settings: Settings, records: DeploymentRecords, target: DeploymentTarget, clock: WallClock
    ) -> None:
        self._settings = settings
        self._records = records
        self._target = target
        self._clock = clock

    def to(self, version: str, *, reason: str, actor: str) -> Rollout:
        """Make the version live: done when this returns where its colour is warm and ready.

        Otherwise the rollout that is returned is not over: the controller starts the version, tests
        it, and switches.

        Raises
        ------
        Refused
            If a rollout is under way, or the version is live already.
        """
        live = self._records.live()
        color = live.candidate.other if live else None
        warm = color is not None and requests.is_warm(self._records, color, version)
        if warm and color is not None:
            health = self._target.health(color)
            warm = health.ready and health.version == version
        if warm and color is not None:
            try:
                begun = self._begin(version, Stage.FINALIZE, reason, actor)
            except Refused:
                if requests.is_warm(self._records, color, version):
                    raise
                # It was being stopped just as we looked: the controller starts it again.
            else:
                return self.finish(begun, actor=actor)
        return self._begin(version, Stage.DEPLOY_GREEN, reason, actor)

    def finish(self, rollout: Rollout, *, actor: str) -> Rollout:
        """Complete a rollout whose candidate is ready; a controller may do so at the same moment.

        Raises
        ------
        Refused
            If the candidate is not ready, or somebody else changed the rollout.
        """
        for _ in range(_TRIES):  # a colour that is started again meanwhile has another endpoint
            change = transitions.complete(
                rollout,
                self._records.routes(),
                self._records.slots(),
                scope_of(self._settings),
                warm=timedelta(hours=self._settings.deployment.warm_hours),
                actor=actor,
                at=self._clock.now(),
            )
            stands = change.apply(self._records, rollout) or self._records.find(rollout.id)
            if stands.state.is_over:
                return stands
            if stands.revision != rollout.revision:
                break
        raise Refused(
            f"expected to switch to {rollout.version}, was changed meanwhile by somebody else: see get_status"
        )

    def _begin(self, version: str, first: Stage, reason: str, actor: str) -> Rollout:
        return requests.begin(
            self._records,
            strategy_id=self._settings.strategy.strategy_id,
            version=version,
            profile=DIRECT,
            goal=Stage.FINALIZE,
            reason=reason,
            actor=actor,
            now=self._clock.now(),
            first=first,
        )
