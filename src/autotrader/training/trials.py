"""One trial of a search: a proposal, judged on inner folds, and its outcome on disk.

A trial is judged by the mean log-loss skill of its calibrated forecasts over purged inner folds:
of a proper score the best model is the best in expectation, and it varies less between trials than
any ratio of returns. What a trial would have earned is kept too, hour by hour, for the statistics
of overfitting.
"""

from __future__ import annotations

import functools
import io
import json
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from autotrader.command import to_plain
from autotrader.config.settings import TrainingSettings
from autotrader.data.places import write_whole
from autotrader.execution.strategy import StrategyRules, score_of
from autotrader.plain import from_plain
from autotrader.ports.clock import WallClock
from autotrader.ports.places import Place
from autotrader.training.artifacts import content_key
from autotrader.training.backtest import BacktestResult, bucket_returns
from autotrader.training.dataset import Dataset
from autotrader.training.fitting import Recipe, fit_model
from autotrader.training.models import Family
from autotrader.training.skill import log_loss
from autotrader.training.splits import Fold
from autotrader.training.statistics import sharpe_ratio
from autotrader.training.strategy import trade
from autotrader.training.windows import search_folds

if TYPE_CHECKING:
    import optuna

log = structlog.get_logger(__name__)

# Labels overlap, so that thinning costs little; the model that is judged learns from all rows.
SEARCH_ROWS = 30_000
BUCKET = timedelta(hours=1)
_RANDOM_TRIALS = 3


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """One trial of a search.

    Attributes
    ----------
    number : int
        In the family's search, from 0.
    key : str
        Content hash of data, family and parameters: its key in the ledger.
    state : str
        `complete`, `pruned` or `failed`.
    skill : float or None
        Mean over inner folds of 1 - log loss / log loss of the base rates; None if it failed.
    sharpe : float or None
        Per bar, not annualised, of net returns out of fold; None unless complete.
    net_return : float or None
        Of the same returns, over the window.
    returns_file : str or None
        In the search's folder; npy, float64: the same returns by the hour.
    reason : str
        Why it did not complete; empty if it did.
    """

    number: int
    key: str
    family: str
    parameters: Mapping[str, Any]
    state: str
    skill: float | None
    fold_skills: tuple[float, ...]
    sharpe: float | None
    net_return: float | None
    returns_file: str | None
    reason: str
    seconds: float


@dataclass
class TrialRunner:
    """What every trial of one family's search has in common."""

    data: Dataset
    kind: Family
    rules: StrategyRules
    training: TrainingSettings
    place: Place
    wall_clock: WallClock
    threads: int

    @functools.cached_property
    def folds(self) -> list[Fold]:
        return search_folds(self.data, self.training)

    def ended(self, study: optuna.Study) -> dict[int, str]:
        """Numbers of the trials that count, with the keys of their outcomes."""
        found: dict[int, str] = {}
        for trial in study.get_trials(deepcopy=False):
            if _counts(trial):
                found.setdefault(trial.user_attrs["number"], trial.user_attrs["key"])
        return found

    def run(self, study: optuna.Study, number: int, announce: Callable[[TrialOutcome], None]) -> None:
        """Make the trial of that number, of which nobody else may be at work.

        A trial's proposal depends on the seed, its number and the trials before it. So one that
        was cut short is proposed again exactly, and its outcome is found if it was written. Where
        others went on meanwhile, what it proposed is what is proposed again.
        """
        import optuna

        trial, parameters = self._propose(study, number)
        key = content_key(
            "trial 2", self.data.prepared.sha256, self.data.prepared.labels, self.kind.name, parameters,
            self.training.seed, self.training.lookback_days, self.training.evaluation_days,
            self.rules.holding.total_seconds(), self.rules.round_trip_cost_bps, SEARCH_ROWS,
        )  # fmt: skip
        trial.set_user_attr("key", key)
        if self._file(key, "json").exists():
            outcome = self.read(key, number)
            for step in range(len(outcome.fold_skills)):
                trial.report(float(np.mean(outcome.fold_skills[: step + 1])), step)
        else:
            outcome = self._try(trial, number, key, parameters)
            write_whole(self._file(key, "json"), json.dumps(to_plain(outcome), indent=1).encode())
        announce(outcome)
        trial.set_user_attr("state", outcome.state)
        state = {
            "complete": optuna.trial.TrialState.COMPLETE,
            "pruned": optuna.trial.TrialState.PRUNED,
            "failed": optuna.trial.TrialState.FAIL,
        }[outcome.state]
        study.tell(trial, outcome.skill if outcome.state == "complete" else None, state=state)

    def read(self, key: str, number: int) -> TrialOutcome:
        """The outcome that a trial left."""
        outcome = from_plain(TrialOutcome, json.loads(self._file(key, "json").read_bytes()))
        return replace(outcome, number=number)

    def _propose(self, study: optuna.Study, number: int) -> tuple[optuna.Trial, Mapping[str, Any]]:
        import optuna

        proposed: dict[str, Any] = {}
        for left in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            if left.user_attrs.get("number") == number:  # of a worker that is gone: the number is ours
                if "key" in left.user_attrs:
                    proposed = left.params
                study.tell(left.number, state=optuna.trial.TrialState.FAIL)
        seed = int(content_key(self.training.seed, self.kind.name, number)[:8], 16)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM_TRIALS)
        with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
            study.sampler = optuna.samplers.PartialFixedSampler(proposed, sampler) if proposed else sampler
        trial = study.ask()
        trial.set_user_attr("number", number)
        return trial, self.kind.suggest(trial)

    def _try(self, trial: optuna.Trial, number: int, key: str, parameters: Mapping[str, Any]) -> TrialOutcome:
        import optuna

        begin = self.wall_clock.monotonic()
        skills: list[float] = []
        state, reason, result = "complete", "", None
        try:
            result = self._judge(trial, Recipe(
                self.kind.name, parameters, self.training.seed, self.threads, SEARCH_ROWS
            ), skills)  # fmt: skip
            if result is None:
                state, reason = "pruned", f"worse than the median of earlier trials after fold {len(skills)}"
        except (OSError, optuna.exceptions.OptunaError):
            raise  # storage that fails says nothing of the model
        except Exception as error:  # noqa: BLE001 - each library fails in its own way; all of it counts
            state, reason = "failed", f"{type(error).__name__}: {error}"
            log.warning("trial failed", family=self.kind.name, number=number, reason=reason)
        returns_file = None
        if result is not None:
            returns_file = self._file(key, "npy").name
            content = io.BytesIO()
            np.save(content, bucket_returns(result, BUCKET))
            write_whole(self._file(key, "npy"), content.getvalue())
        return TrialOutcome(
            number=number,
            key=key,
            family=self.kind.name,
            parameters=parameters,
            state=state,
            skill=float(np.mean(skills)) if skills and state != "failed" else None,
            fold_skills=tuple(skills),
            sharpe=_finite(sharpe_ratio(result.net_returns)) if result else None,
            net_return=result.metrics.net_return if result else None,
            returns_file=returns_file,
            reason=reason,
            seconds=round(self.wall_clock.monotonic() - begin, 3),
        )

    def _judge(self, trial: optuna.Trial, recipe: Recipe, skills: list[float]) -> BacktestResult | None:
        """Forecast every inner fold, and trade them all; None if pruned on the way."""
        data = self.data
        score, entry = np.full(len(data), np.nan), np.full(len(data), np.nan)
        for step, fold in enumerate(self.folds):
            model = fit_model(data, fold.train, recipe, rules=self.rules)
            probabilities = model.probabilities(data.features[fold.test])
            label = data.label[fold.test]
            base = np.bincount(data.label[fold.train] + 1, minlength=3) / len(fold.train)
            of_base_rates = log_loss(np.broadcast_to(base, (len(label), 3)), label)
            skills.append(1.0 - log_loss(probabilities, label) / of_base_rates)
            score[fold.test], entry[fold.test] = score_of(probabilities), model.entry_score
            trial.report(float(np.mean(skills)), step)
            if step < len(self.folds) - 1 and trial.should_prune():
                return None
        rows = np.concatenate([fold.test for fold in self.folds])
        return trade(data, rows, score[rows], entry_score=entry[rows], rules=self.rules)

    def _file(self, key: str, suffix: str) -> Place:
        return self.place / f"trial-{key}.{suffix}"


def _counts(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether it came to an end of its own: Optuna calls those failed, too, whose worker is gone."""
    return trial.state.name in {"COMPLETE", "PRUNED"} or (
        trial.state.name == "FAIL" and trial.user_attrs.get("state") == "failed"
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
