"""A whole training run over a small market, for tests of training."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from autotrader.adapters.clocks import SystemWallClock
from autotrader.config.settings import Environment, StrategySettings, TrainingSettings
from autotrader.ports.studies import Studies
from autotrader.training.champion import ChampionFiles
from autotrader.training.dataset import PreparedData
from autotrader.training.evaluation import Evaluation, evaluate_models
from autotrader.training.preparation import prepare_training_data
from autotrader.training.results import Results
from autotrader.training.search import FamilySearch, search_family
from autotrader.training.studies import LocalStudies
from autotrader.training.validation import Validation, validate_model
from tests.fakes.small_market import INSTRUMENTS, NOW, STRATEGY, Stores, market
from tests.fakes.tracking import InMemoryTracker
from tests.fakes.trials import InMemoryTrialLedger

TRAINING = TrainingSettings(
    lookback_days=12,
    evaluation_days=60,
    fold_days=4,
    trials_per_model=3,
    sample_every_bars=3,
    models=("logistic", "hist_gradient_boosting"),
)


@dataclass
class TrainingRun:
    """All steps until the gates, each as often as it is asked for."""

    stores: Stores
    work: Path
    strategy: StrategySettings = STRATEGY
    training: TrainingSettings = TRAINING
    as_of: datetime = NOW

    def __post_init__(self) -> None:
        self.results = Results(self.work, self.work)
        self.studies: Studies = LocalStudies()
        self.ledger = InMemoryTrialLedger()
        self.tracker = InMemoryTracker()
        self.run_id = self.tracker.start_run(key="run", name="test")

    def prepare(self) -> PreparedData:
        return prepare_training_data(
            bars=self.stores.bars,
            features=self.stores.features,
            instruments=INSTRUMENTS,
            strategy=self.strategy,
            training=self.training,
            as_of=self.as_of,
            results=self.results,
        )

    def search(self, family: str) -> FamilySearch:
        return search_family(
            prepared=self.prepare(),
            family_name=family,
            strategy=self.strategy,
            training=self.training,
            ledger=self.ledger,
            tracker=self.tracker,
            run_id=self.run_id,
            wall_clock=SystemWallClock(),
            results=self.results,
            studies=self.studies,
        )

    def searches(self) -> list[FamilySearch]:
        return [self.search(family) for family in self.training.models]

    def evaluate(self, champion: ChampionFiles | None = None) -> Evaluation:
        return evaluate_models(
            prepared=self.prepare(),
            searches=self.searches(),
            strategy=self.strategy,
            training=self.training,
            results=self.results,
            champion=champion,
        )

    def validate(
        self, environment: Environment = Environment.DEV, evaluation: Evaluation | None = None
    ) -> Validation:
        return validate_model(
            prepared=self.prepare(),
            searches=self.searches(),
            evaluation=evaluation or self.evaluate(),
            bars=self.stores.bars,
            ledger=self.ledger,
            tracker=self.tracker,
            run_id=self.run_id,
            strategy=self.strategy,
            environment=environment,
            judged_at=NOW,
            results=self.results,
        )


def signal_run(folder: Path) -> TrainingRun:
    """A market in which the past says much of the future: a model must find it."""
    return _run(folder, TRAINING, momentum=0.85, source="SIMULATED")


def noise_run(folder: Path) -> TrainingRun:
    """A random walk: no model may pass on it."""
    one = TRAINING.model_copy(update={"models": ("logistic",)})
    return _run(folder, one, momentum=0.0, source="recorded")


def _run(folder: Path, training: TrainingSettings, *, momentum: float, source: str) -> TrainingRun:
    frames = [
        market(i.symbol, days=24, momentum=momentum, seed=seed, source=source)
        for seed, i in enumerate(INSTRUMENTS)
    ]
    return TrainingRun(Stores.filled(folder / "lake", frames), folder / "work", training=training)
