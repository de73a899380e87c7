"""Search of a family's parameters, inside the first training window alone.

Killed at any instant and begun again, a search goes on: each trial draws from a random state of its
own, its outcome is a file before anything else hears of it, and ledger and tracker, which know it by
its content, before Optuna counts it. So nothing is tried twice, nothing counts twice, and whatever
has a number has been announced. Where Optuna's memory is PostgreSQL several workers share a search:
each trial is of whoever holds its claim, and who finds one that its worker died of tries it again.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from autotrader.config.settings import StrategySettings, TrainingSettings
from autotrader.data.places import write_new
from autotrader.domain.errors import BadData
from autotrader.execution.strategy import StrategyRules
from autotrader.ports.clock import WallClock
from autotrader.ports.places import Place
from autotrader.ports.studies import Studies
from autotrader.ports.tracking import ExperimentTracker
from autotrader.ports.trials import Trial, TrialLedger
from autotrader.training.artifacts import content_key, software
from autotrader.training.dataset import PreparedData, open_dataset
from autotrader.training.models import family
from autotrader.training.results import Results
from autotrader.training.splits import Fold
from autotrader.training.trials import SEARCH_ROWS, TrialOutcome, TrialRunner

if TYPE_CHECKING:
    import optuna

log = structlog.get_logger(__name__)

TRIALS = "trials"
STUDY_FILE = "study"
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class FamilySearch:
    """What the search of one family found.

    Attributes
    ----------
    key : str
    family : str
    folder : str
        Of the trials' returns.
    best : TrialOutcome
        Of the complete trials, the one with the highest skill.
    trials : tuple of TrialOutcome
    """

    key: str
    family: str
    folder: str
    best: TrialOutcome
    trials: tuple[TrialOutcome, ...]


def search_family(
    *,
    prepared: PreparedData,
    family_name: str,
    strategy: StrategySettings,
    training: TrainingSettings,
    ledger: TrialLedger,
    tracker: ExperimentTracker,
    run_id: str,
    wall_clock: WallClock,
    results: Results,
    studies: Studies,
    threads: int = 1,
) -> FamilySearch:
    """Try `trials_per_model` models of one family, beside whoever else is at the same search.

    Parameters
    ----------
    prepared : PreparedData
    family_name : str
    strategy, training
        Costs and capital; number of trials, windows and seed.
    ledger : TrialLedger
        Hears of every trial: complete, pruned and failed.
    tracker : ExperimentTracker
        Gets a child run of `run_id` for each.
    wall_clock : WallClock
    results : Results
        The search becomes its `search/<key>`; outcomes of trials gather in `trials/<key>`.
    studies : Studies
        Optuna's memory. One worker alone always makes the same trials.
    threads : int

    Raises
    ------
    BadData
        If no trial completes, or the training set is not what was prepared.
    ConfigurationError
        If there is no such family.
    Unreachable
        If the tracking server does not answer; the search goes on from there next time.
    """
    kind = family(family_name)
    key = content_key(
        "search 3", prepared.sha256, prepared.labels, kind.name, strategy.strategy_id, software(),
        strategy.horizon_minutes, strategy.round_trip_cost_bps, training.trials_per_model,
        training.lookback_days, training.fold_days, training.evaluation_days, training.seed, SEARCH_ROWS,
    )  # fmt: skip
    name, gathered = f"search/{key}", f"{TRIALS}/{key}"
    existing = results.stored(name, FamilySearch)
    if existing is not None:
        log.info("search exists", family=kind.name, trials=len(existing.trials))
        return existing
    with studies.open(results.folder / gathered) as storage:
        runner = TrialRunner(
            data=open_dataset(prepared),
            kind=kind,
            rules=StrategyRules.of(strategy),
            training=training,
            place=results.place / gathered,
            wall_clock=wall_clock,
            threads=threads,
        )

        def announce(outcome: TrialOutcome) -> None:
            _announce(
                outcome,
                prepared=prepared,
                folds=runner.folds,
                strategy=strategy,
                ledger=ledger,
                tracker=tracker,
                run_id=run_id,
                at=wall_clock.now(),
            )

        study = _open_study(f"{key}-{_name_once(runner.place / STUDY_FILE)}", storage)
        trials = _try_all(study, runner, studies, announce, count=training.trials_per_model)
    with results.published(name) as staging:
        for trial in trials:
            if trial.returns_file is not None:
                (staging / trial.returns_file).write_bytes((runner.place / trial.returns_file).read_bytes())
        found = FamilySearch(key, kind.name, str(results.folder / name), _best(trials), trials)
        results.write(staging, found)
    return results.read(name, FamilySearch)


def _try_all(
    study: optuna.Study,
    runner: TrialRunner,
    studies: Studies,
    announce: Callable[[TrialOutcome], None],
    *,
    count: int,
) -> tuple[TrialOutcome, ...]:
    """Make the trials that nobody else makes, until all have an outcome."""
    while open_numbers := [n for n in range(count) if n not in runner.ended(study)]:
        for number in open_numbers:
            with studies.claim(f"trial-{study.study_name}-{number}") as is_ours:
                if is_ours and number not in runner.ended(study):
                    runner.run(study, number, announce)
                    break
        else:
            time.sleep(_POLL_SECONDS)
    return tuple(runner.read(key, number) for number, key in sorted(runner.ended(study).items()))


def _name_once(place: Place) -> str:
    """What Optuna knows this search by; another one when the outcomes of its trials were cleaned away."""
    write_new(place, lambda: uuid.uuid4().hex.encode())
    return place.read_bytes().decode()


def _open_study(name: str, storage: optuna.storages.BaseStorage) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=name,
        storage=storage,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2),
        load_if_exists=True,
    )


def _announce(
    outcome: TrialOutcome,
    *,
    prepared: PreparedData,
    folds: Sequence[Fold],
    strategy: StrategySettings,
    ledger: TrialLedger,
    tracker: ExperimentTracker,
    run_id: str,
    at: datetime,
) -> None:
    """Tell ledger and tracker; telling them again changes nothing."""
    ledger.record(
        Trial(
            key=outcome.key,
            strategy_id=strategy.strategy_id,
            window_start=folds[0].test_start,
            window_end=folds[-1].test_end,
            family=outcome.family,
            params=outcome.parameters,
            state=outcome.state,
            sharpe=outcome.sharpe,
            at=at,
            data={
                "skill": outcome.skill,
                "dataset": prepared.sha256,
                "labels": prepared.labels,
                "reason": outcome.reason,
            },
        )
    )
    child = tracker.start_run(
        key=f"{run_id}/{outcome.key}",
        name=f"{outcome.family} {outcome.number}",
        parent_run_id=run_id,
        tags={"family": outcome.family, "state": outcome.state, "trial_key": outcome.key},
    )
    measured = {
        "skill": outcome.skill,
        "sharpe_per_bar": outcome.sharpe,
        "net_return": outcome.net_return,
        "seconds": outcome.seconds,
    }
    tracker.log(
        child,
        params=outcome.parameters,
        metrics={name: value for name, value in measured.items() if value is not None},
    )
    tracker.finish(child, status={"complete": "FINISHED", "pruned": "KILLED"}.get(outcome.state, "FAILED"))


def _best(trials: Sequence[TrialOutcome]) -> TrialOutcome:
    complete = [t for t in trials if t.state == "complete"]
    if not complete:
        reasons = "; ".join(f"{t.number}: {t.reason}" for t in trials)
        raise BadData(f"expected a trial of {trials[0].family} to complete, did none: {reasons}")
    return max(complete, key=lambda t: (t.skill or -math.inf, -t.number))
