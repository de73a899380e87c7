"""Steps of `training_pipeline`: features into a judged model in the registry."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from autotrader.config.settings import Settings, TrainingSettings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.domain.bars import floor_to
from autotrader.domain.errors import BadData, ConfigurationError, NotFound
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.rollout import FAST, STANDARD
from autotrader.features.store.store import FeatureStore
from autotrader.pipelines.training_values import (
    Evaluated,
    FamilyWork,
    ModelsTried,
    Registered,
    Run,
    Searched,
    Validated,
)
from autotrader.plain import from_plain
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.deployment import DeploymentRecords
from autotrader.ports.events import Event, EventLog, EventType
from autotrader.ports.holds import Holds
from autotrader.ports.places import Places
from autotrader.ports.registry import Alias, ModelRegistry
from autotrader.ports.studies import Studies
from autotrader.ports.tracking import ExperimentTracker
from autotrader.ports.trials import TrialLedger
from autotrader.training import evaluation, preparation, registration, retention, search, validation
from autotrader.training.champion import ChampionFiles
from autotrader.training.dataset import PreparedData
from autotrader.training.evaluation import Evaluation
from autotrader.training.out_of_sample import OUT_OF_SAMPLE_FILE
from autotrader.training.results import Results
from autotrader.training.search import FamilySearch
from autotrader.training.validation import Validation

log = structlog.get_logger(__name__)

ACTOR = "training_pipeline"

T = TypeVar("T")


def prepare_training_data(
    *,
    run_key: str,
    lookback_days: int | None = None,
    evaluation_days: int | None = None,
    models: list[str] | None = None,
    instruments: list[str] | None = None,
    promote: bool = True,
    settings: Settings,
    lake: Lake,
    holds: Holds,
    feature_store: FeatureStore,
    clock: MarketClock,
    wall_clock: WallClock,
    registry: ModelRegistry,
    tracker: ExperimentTracker,
    places: Places,
) -> list[FamilyWork]:
    """Freeze labels and features of the window, pinned to table versions; one task for each family.

    What earlier runs left and nobody needs is deleted first.
    """
    overrides = {"lookback_days": lookback_days, "evaluation_days": evaluation_days, "models": models}
    given = {name: value for name, value in overrides.items() if value is not None}
    training = from_plain(TrainingSettings, settings.training.model_dump() | given)
    results = training_results(settings, places)
    versions = registry.list(settings.strategy.strategy_id)
    retention.clean(
        results,
        keep_runs=training.keep_runs,
        live=retention.live_runs(versions),
        now=wall_clock.now(),
        forget=partial(retention.release_pins, lake, versions),
    )
    with retention.in_use(results):
        prepared = preparation.prepare_training_data(
            bars=BarStore(lake, holds),
            features=feature_store,
            instruments=chosen_instruments(settings, instruments),
            strategy=settings.strategy,
            training=training,
            as_of=floor_to(clock.now(), settings.strategy.interval),
            results=results,
        )
    run_id = tracker.start_run(
        key=f"training/{prepared.sha256}/{training.model_dump_json()}",
        name=run_key,
        tags={
            "dataset": prepared.sha256,
            "sources": ", ".join(prepared.sources),
            "feature_set": prepared.feature_set,
        },
    )
    tracker.log(run_id, params=training.model_dump(mode="json") | {"rows": prepared.rows})
    run = Run(results.uri(prepared.folder), run_id, training, promote)
    return [FamilyWork(family, run) for family in training.models]


def train_models(
    *,
    work: Mapping[str, Any],
    settings: Settings,
    trials: TrialLedger,
    studies: Studies,
    tracker: ExperimentTracker,
    wall_clock: WallClock,
    places: Places,
) -> Searched:
    """Search one family's parameters inside the first training window.

    Where the database is PostgreSQL, the step run with the same work on several machines shares it.
    """
    todo = from_plain(FamilyWork, work)
    results = training_results(settings, places)
    retention.clean_copies(results, now=wall_clock.now())
    with retention.in_use(results):
        found = search.search_family(
            prepared=_told(results, todo.run.prepared, PreparedData),
            family_name=todo.family,
            strategy=settings.strategy,
            training=todo.run.training,
            ledger=trials,
            tracker=tracker,
            run_id=todo.run.tracking_run,
            wall_clock=wall_clock,
            results=results,
            studies=studies,
        )
    return Searched(todo.family, todo.run, results.uri(found.folder))


def evaluate_models(
    *, searched: Sequence[Mapping[str, Any]], settings: Settings, registry: ModelRegistry, places: Places
) -> Evaluated:
    """Judge the best recipe on the evaluation window, against baselines and the champion."""
    done = [from_plain(Searched, one) for one in searched]
    run = done[0].run
    results = training_results(settings, places)
    with retention.in_use(results):
        judged = evaluation.evaluate_models(
            prepared=_told(results, run.prepared, PreparedData),
            searches=[_told(results, one.search, FamilySearch) for one in done],
            strategy=settings.strategy,
            training=run.training,
            results=results,
            champion=_champion(registry, settings, results),
            threads=os.cpu_count() or 1,
        )
    return Evaluated(run, tuple(one.search for one in done), results.uri(judged.folder))


def validate_model(
    *,
    evaluated: Mapping[str, Any],
    settings: Settings,
    lake: Lake,
    holds: Holds,
    trials: TrialLedger,
    tracker: ExperimentTracker,
    wall_clock: WallClock,
    places: Places,
) -> Validated:
    """Evaluate all gates, write the report, and say what they come to in this environment."""
    done = from_plain(Evaluated, evaluated)
    results = training_results(settings, places)
    with retention.in_use(results):
        searches = [_told(results, name, FamilySearch) for name in done.searches]
        judged = _told(results, done.evaluation, Evaluation)
        verdict = validation.validate_model(
            prepared=_told(results, done.run.prepared, PreparedData),
            searches=searches,
            evaluation=judged,
            bars=BarStore(lake, holds),
            ledger=trials,
            tracker=tracker,
            run_id=done.run.tracking_run,
            strategy=settings.strategy,
            environment=settings.environment,
            judged_at=wall_clock.now(),
            results=results,
        )
    return Validated(
        run=done.run,
        searches=done.searches,
        evaluation=done.evaluation,
        validation=results.uri(verdict.folder),
        decision=verdict.decision,
        reasons=verdict.reasons,
        window=judged.statement,
        gates=tuple(
            {
                "name": gate.name,
                "value": gate.value,
                "bound": f"{gate.comparison} {gate.bound:g}",
                "outcome": gate.outcome.value,
                "enforced": gate.enforced,
                "reason": gate.reason,
            }
            for gate in verdict.gates
        ),
        models_tried=tuple(
            ModelsTried(found.family, len(found.trials), found.best.skill, found.family == judged.family)
            for found in searches
        ),
        report_url=tracker.run_url(done.run.tracking_run),
    )


def register_model(
    *,
    validated: Mapping[str, Any],
    settings: Settings,
    registry: ModelRegistry,
    tracker: ExperimentTracker,
    wall_clock: WallClock,
    places: Places,
) -> Registered:
    """Register the judged model with its verdict; not at all if an integrity gate did not pass."""
    done = from_plain(Validated, validated)
    results = training_results(settings, places)
    with retention.in_use(results):
        judged = _told(results, done.evaluation, Evaluation)
        made = registration.register_model(
            prepared=_told(results, done.run.prepared, PreparedData),
            evaluation=judged,
            validation=_told(results, done.validation, Validation),
            strategy=settings.strategy,
            registry=registry,
            tracker=tracker,
            run_id=done.run.tracking_run,
            git_sha=_git_sha(),
            actor=ACTOR,
            window_hours=settings.monitoring.window_hours,
        )
        used = (done.run.prepared, *done.searches, done.evaluation, done.validation)
        retention.record_run(
            results,
            done.run.tracking_run,
            (*map(results.name, used), evaluation.folds_of(judged.key)),
            finished_at=wall_clock.now(),
        )
    reason = made.reason
    if made.may_deploy and not done.run.promote:
        reason = f"promotion was switched off for this run; {reason}"
    promoted = made.may_deploy and done.run.promote
    return Registered(made.version, made.semver, promoted, done.decision, reason)


def trigger_deployment(
    *,
    registered: Mapping[str, Any],
    settings: Settings,
    registry: ModelRegistry,
    records: DeploymentRecords,
    events: EventLog,
    market_clock: MarketClock,
    wall_clock: WallClock,
) -> dict[str, Any]:
    """Make the promoted version the challenger, and say how it is to be deployed.

    Watches are shortened where market time is replayed: nothing new would be seen in hours.
    """
    done = from_plain(Registered, registered)
    name = settings.strategy.strategy_id
    if done.semver is None:
        raise BadData("expected a registered version to deploy, was none")
    live = records.live()
    if live is not None and live.version == done.semver:
        return {"model_version": done.semver, "deploy": False, "reason": f"{done.semver} is live already"}
    registry.set_alias(name, Alias.CHALLENGER, done.semver, reason=done.reason, actor=ACTOR)
    events.record(
        Event(
            key=f"promoted/{name}/{done.semver}",
            type=EventType.DEPLOYMENT,
            severity="info",
            message=f"{name} {done.semver} passed its gates and waits for deployment",
            actor=ACTOR,
            at=wall_clock.now(),
            data={"semver": done.semver, "environment": settings.environment.value},
        )
    )
    profile = FAST if market_clock.is_replay else STANDARD
    return {
        "model_version": done.semver,
        "deploy": True,
        "reason": done.reason,
        "profile": profile.name,
    }


def training_results(settings: Settings, places: Places) -> Results:
    """What steps of training runs made, and what they make."""
    return Results(settings.home.resolve() / "training", places(settings.training_uri))


def _told(results: Results, uri: str, kind: type[T]) -> T:
    return results.read(results.name(uri), kind)


def chosen_instruments(settings: Settings, names: list[str] | None) -> list[InstrumentId]:
    """Instruments of the settings, or those of them that were asked for.

    Raises
    ------
    ConfigurationError
        If one is not of the settings.
    """
    of_settings = {i.symbol: i for i in settings.instruments()}
    if not names:
        return list(of_settings.values())
    unknown = [name for name in names if name not in of_settings]
    if unknown:
        raise ConfigurationError(
            f"expected instruments of {', '.join(of_settings)}, was {', '.join(unknown)}: see the settings"
        )
    return [of_settings[name] for name in names]


def _champion(registry: ModelRegistry, settings: Settings, results: Results) -> ChampionFiles | None:
    try:
        champion = registry.get(settings.strategy.strategy_id, Alias.CHAMPION.value)
    except NotFound:
        return None
    folder = results.folder / "champions" / champion.semver
    folder.mkdir(parents=True, exist_ok=True)
    onnx = registry.fetch_artifact(champion, "model.onnx", folder)
    try:
        return ChampionFiles(onnx, registry.fetch_artifact(champion, OUT_OF_SAMPLE_FILE, folder))
    except NotFound:
        return ChampionFiles(onnx)


def _git_sha() -> str:
    """Of the code that runs, as its image tells or else git, `-dirty` with changes that are not committed."""
    if told := os.environ.get("GIT_SHA"):
        return told
    git = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        described = subprocess.run(git, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git here, or no repository
        return "unknown"
    return described.stdout.strip()
