"""The watch of a rollout: both colours answer the same requests, and are judged by the pairs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import structlog

from autotrader.adapters.pairs import OfflineModel
from autotrader.apps.controller.driver import ReplayDriver
from autotrader.command import to_plain
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.predictions import PredictionStore
from autotrader.deployment.analysis.health import HealthObservation
from autotrader.deployment.analysis.results import Look
from autotrader.deployment.analysis.rollout import RolloutAnalysis
from autotrader.deployment.controller import StageResult
from autotrader.deployment.guards import TradedScores, guard_evidence
from autotrader.deployment.replay import ReplayRows, rows_of_last_day
from autotrader.deployment.switching import scope_of
from autotrader.domain.rollout import PROFILES, Stage
from autotrader.features.store.store import FeatureStore
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.deployment import DeploymentRecords, DeploymentTarget, Pair, Release, Rollout
from autotrader.ports.registry import ModelRegistry, ModelVersion
from autotrader.registry.onnx_model import OnnxModel

log = structlog.get_logger(__name__)

MODEL_FILE = "model.onnx"
# Of a stage that waits for people for days, the last hours are judged.
HEALTH_OBSERVATIONS = 5_000


class ReplayWatch:
    """Looks at one rollout at a time; made again from the recorded pairs after a crash.

    Parameters
    ----------
    prepare : Callable
        Makes a version ready to serve; the offline model is that release.
    token : str
        That callers authenticate with.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        records: DeploymentRecords,
        registry: ModelRegistry,
        target: DeploymentTarget,
        prepare: Callable[[ModelVersion], Release],
        predictions: PredictionStore,
        features: FeatureStore,
        bars: BarStore,
        token: str,
        market_clock: MarketClock,
        wall_clock: WallClock,
    ) -> None:
        self._settings = settings
        self._records = records
        self._registry = registry
        self._target = target
        self._prepare = prepare
        self._predictions = predictions
        self._features = features
        self._bars = bars
        self._token = token
        self._market_clock = market_clock
        self._wall_clock = wall_clock
        self._watched: _Watched | None = None

    def look(self, rollout: Rollout, *, final: bool) -> StageResult:
        watched = self._watched
        if watched is None or watched.rollout_id != rollout.id or not watched.driver.is_alive:
            self.end()
            watched = self._watched = self._begin(rollout)
        health = self._target.health(rollout.candidate)
        look = watched.look(
            rollout,
            self._records,
            HealthObservation(self._wall_clock.now(), health),
            owned=scope_of(self._settings).of(rollout.stage),
            final=final,
        )
        return StageResult(look.outcome, look.reason, watched.evidence(look))

    def end(self) -> None:
        if self._watched is not None:
            self._watched.driver.end()
            self._watched = None

    def _begin(self, rollout: Rollout) -> _Watched:
        release = self._release(rollout.version)
        model = OnnxModel(Path(release.folder) / MODEL_FILE)
        rows = rows_of_last_day(
            self._predictions,
            self._features,
            self._settings.instruments(),
            interval=self._settings.strategy.interval,
            now=self._market_clock.now(),
        ).in_order_of(model.feature_names)
        colors = {rollout.candidate}
        if rollout.previous_version is not None:
            colors.add(rollout.candidate.other)
        slots = self._records.slots()
        driver = ReplayDriver(
            records=self._records,
            rollout_id=rollout.id,
            candidate=rollout.candidate,
            endpoints={c: e for c in colors if c in slots and (e := slots[c].endpoint)},
            rows=rows,
            feature_set=release.feature_set,
            offline_model=_offline(model),
            requests_per_second=PROFILES[rollout.profile].requests_per_second,
            token=self._token,
        )
        stable = None
        if rollout.previous_version is not None:
            stable = OnnxModel(Path(self._release(rollout.previous_version).folder) / MODEL_FILE)
        driver.start()
        log.info("watch began", rollout=rollout.id, rows=len(rows), source=rows.source)
        return _Watched(rollout, driver, rows, model, stable, self._settings, self._bars)

    def _release(self, version: str) -> Release:
        return self._prepare(self._registry.get(self._settings.strategy.strategy_id, version))


class _Watched:
    """All that is known of one rollout's watch."""

    def __init__(
        self,
        rollout: Rollout,
        driver: ReplayDriver,
        rows: ReplayRows,
        model: OnnxModel,
        stable: OnnxModel | None,
        settings: Settings,
        bars: BarStore,
    ) -> None:
        self.rollout_id = rollout.id
        self.driver = driver
        self._rows = rows
        self._model = model
        self._stable = stable
        self._settings = settings
        self._bars = bars
        self._analysis = RolloutAnalysis(
            PROFILES[rollout.profile], has_stable=rollout.previous_version is not None
        )
        self._last_pair = 0
        self._stage: Stage | None = None
        self._health: deque[HealthObservation] = deque(maxlen=HEALTH_OBSERVATIONS)
        self._scores = TradedScores()

    def look(
        self,
        rollout: Rollout,
        records: DeploymentRecords,
        health: HealthObservation,
        *,
        owned: Sequence[str],
        final: bool,
    ) -> Look:
        if self._stage is not rollout.stage:
            self._stage = rollout.stage
            self._health.clear()
        self._health.append(health)
        self._take_in(rollout, records)
        guards = None
        if self._stable is not None:
            guards = guard_evidence(
                self._scores,
                self._rows,
                self._bars,
                stable=self._stable,
                candidate=self._model,
                strategy=self._settings.strategy,
            )
        return self._analysis.look(
            rollout.stage,
            health=self._health,
            breaker_tripped=None,
            guards=guards,
            final=final,
            owned=owned,
        )

    def evidence(self, look: Look) -> dict[str, object]:
        """Of a stage record: every check with its figures, and how far the pairs were read."""
        return {
            "last_pair": self._last_pair,
            "replayed": self._rows.source,
            "checks": {check.name: to_plain(check) for check in look.checks},
        }

    def _take_in(self, rollout: Rollout, records: DeploymentRecords) -> None:
        """Each pair belongs to the stage in which it was read first."""
        ended: list[tuple[Stage, int]] = []
        if self._last_pair == 0:  # perhaps after a crash: the stages that ended say how far they read
            for record in records.stages(rollout.id):
                read = record.evidence.get("last_pair")
                if record.stage.is_watched and isinstance(read, int):
                    ended.append((record.stage, read))
        while new := records.pairs(rollout.id, after=self._last_pair):
            for stage, read in ended:
                self._add(stage, [pair for n, pair in new if self._last_pair < n <= read])
                self._last_pair = max(self._last_pair, min(read, new[-1][0]))
            self._add(rollout.stage, [pair for n, pair in new if n > self._last_pair])
            self._last_pair = new[-1][0]

    def _add(self, stage: Stage, pairs: list[Pair]) -> None:
        self._analysis.add(stage, pairs)
        self._scores.add(pairs)


def _offline(model: OnnxModel) -> OfflineModel:
    def probabilities(rows: Sequence[Sequence[float]]) -> Sequence[Sequence[float]]:
        found: list[list[float]] = model.probabilities(np.asarray(rows, dtype=np.float32)).tolist()
        return found

    return probabilities
