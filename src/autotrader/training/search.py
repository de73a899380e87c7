"""Search of a family's parameters, inside the first training window alone.

Killed at any instant and begun again, a search goes on: each trial draws from a random state of its
own, its outcome is a file before anything else hears of it, and ledger and tracker know it by its
content. So nothing is tried twice, and nothing counts twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from autotrader.config.settings import StrategySettings, TrainingSettings
from autotrader.domain.errors import BadData
from autotrader.execution.strategy import StrategyRules
from autotrader.ports.clock import WallClock
from autotrader.ports.tracking import ExperimentTracker
from autotrader.ports.trials import Trial, TrialLedger
from autotrader.training.artifacts import content_key, exclusive, software, stored_result, write_result
from autotrader.training.dataset import PreparedData, open_dataset
from autotrader.training.models import family
from autotrader.training.splits import Fold
from autotrader.training.trials import SEARCH_ROWS, TrialOutcome, TrialRunner

if TYPE_CHECKING:
    import optuna

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FamilySearch:
    """What the search of one family found.

    Attributes
    ----------
    key : str
    family : str
    folder : str
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
    work: Path,
    storage_url: str | None = None,
    threads: int = 1,
) -> FamilySearch:
    """Try `trials_per_model` models of one family.

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
    work : Path
        Folder of training artefacts; the search lives in `search/<key>` in it.
    storage_url : str or None
        Optuna's storage as an SQLAlchemy URL; a SQLite file in that folder when None.
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
        "search 2", prepared.sha256, prepared.labels, kind.name, strategy.strategy_id, software(),
        strategy.horizon_minutes, strategy.round_trip_cost_bps, training.trials_per_model,
        training.lookback_days, training.fold_days, training.evaluation_days, training.seed, SEARCH_ROWS,
    )  # fmt: skip
    folder = work / "search" / key
    with exclusive(folder / "lock"):
        existing = stored_result(folder, FamilySearch)
        if existing is not None:
            log.info("search exists", family=kind.name, trials=len(existing.trials))
            return existing
        search = TrialRunner(
            data=open_dataset(prepared),
            kind=kind,
            rules=StrategyRules.of(strategy),
            training=training,
            folder=folder,
            wall_clock=wall_clock,
            threads=threads,
        )
        study = _open_study(key, storage_url or _local_database(folder.resolve()))
        trials: list[TrialOutcome] = []
        for number in range(training.trials_per_model):
            trials.append(search.run(study, number))
            _announce(
                trials[-1],
                prepared=prepared,
                folds=search.folds,
                strategy=strategy,
                ledger=ledger,
                tracker=tracker,
                run_id=run_id,
                at=wall_clock.now(),
            )
        found = FamilySearch(key, kind.name, str(folder), _best(trials), tuple(trials))
        write_result(folder, found)
    return found


def _local_database(folder: Path) -> str:
    """URL of the folder's own trial database, which gets its name when it is whole.

    SQLite commits every table and every index by itself: a kill between the two leaves studies
    whose names nothing keeps unique, and no later start mends that.
    """
    from optuna.storages import RDBStorage

    path = folder / "optuna.db"
    if not path.exists():
        for crumb in folder.glob("optuna.making*"):  # its journal too, which would undo the next one
            crumb.unlink()
        making = folder / "optuna.making"
        storage = RDBStorage(f"sqlite:///{making}")
        storage.remove_session()
        storage.engine.dispose()
        making.replace(path)
    return f"sqlite:///{path}"


def _open_study(key: str, url: str) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=key,
        storage=url,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2),
        load_if_exists=True,
    )
    # We hold the search's lock: whoever was at these is gone. A trial without a state of ours does
    # not count.
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


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
