"""Steps of the training pipeline, and an MLflow that is down in each of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from autotrader.adapters.clocks import StandingMarketClock, SystemWallClock
from autotrader.bootstrap import Container
from autotrader.config.settings import LabelKind, LabelSettings, Settings
from autotrader.data.lake import Lake
from autotrader.domain.errors import AutotraderError, BadData, ConfigurationError, NotFound, Unreachable
from autotrader.features.store.store import FeatureStore
from autotrader.pipelines import training_steps
from autotrader.ports.clock import WallClock
from autotrader.ports.places import Places
from autotrader.ports.registry import Alias
from autotrader.training import retention
from autotrader.training.evaluation import Evaluation
from autotrader.training.out_of_sample import OUT_OF_SAMPLE_FILE
from autotrader.training.results import Results
from autotrader.training.studies import LocalStudies
from tests.fakes.deployment import InMemoryDeploymentRecords
from tests.fakes.events import InMemoryEventLog
from tests.fakes.holds import InMemoryHolds
from tests.fakes.registry import InMemoryRegistry
from tests.fakes.small_market import INSTRUMENTS, NOW, STRATEGY, Stores, market
from tests.fakes.tracking import InMemoryTracker
from tests.fakes.trials import InMemoryTrialLedger
from tests.unit.data.trouble import TROUBLES, in_trouble
from tests.unit.pipelines.platform import Plain, plain

MODEL = STRATEGY.strategy_id


@dataclass
class Platform:
    """Each method is a step, over servers in memory that can be switched off."""

    settings: Settings
    tracker: InMemoryTracker = field(default_factory=InMemoryTracker)
    registry: InMemoryRegistry = field(default_factory=InMemoryRegistry)
    trials: InMemoryTrialLedger = field(default_factory=InMemoryTrialLedger)
    events: InMemoryEventLog = field(default_factory=InMemoryEventLog)
    records: InMemoryDeploymentRecords = field(default_factory=InMemoryDeploymentRecords)
    studies: LocalStudies = field(default_factory=LocalStudies)
    holds: InMemoryHolds = field(default_factory=InMemoryHolds)
    wall_clock: WallClock = field(default_factory=SystemWallClock)

    def switch(self, *, on: bool) -> None:
        self.tracker.reachable = self.registry.reachable = on

    @property
    def places(self) -> Places:
        return Container(self.settings).place

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_uri)

    def prepare(self, **conf: Any) -> Plain:
        clock = StandingMarketClock(NOW)
        return plain(
            training_steps.prepare_training_data(
                run_key="run",
                **conf,
                settings=self.settings,
                lake=self.lake,
                holds=self.holds,
                feature_store=FeatureStore(self.lake, clock),
                clock=clock,
                wall_clock=self.wall_clock,
                registry=self.registry,
                tracker=self.tracker,
                places=self.places,
            )
        )

    def train(self, work: Plain) -> Plain:
        return plain(
            training_steps.train_models(
                work=work,
                settings=self.settings,
                trials=self.trials,
                studies=self.studies,
                tracker=self.tracker,
                wall_clock=self.wall_clock,
                places=self.places,
            )
        )

    def evaluate(self, searched: Plain) -> Plain:
        return plain(
            training_steps.evaluate_models(
                searched=searched, settings=self.settings, registry=self.registry, places=self.places
            )
        )

    def validate(self, evaluated: Plain) -> Plain:
        return plain(
            training_steps.validate_model(
                evaluated=evaluated,
                settings=self.settings,
                lake=self.lake,
                holds=self.holds,
                trials=self.trials,
                tracker=self.tracker,
                wall_clock=self.wall_clock,
                places=self.places,
            )
        )

    def register(self, validated: Plain) -> Plain:
        return plain(
            training_steps.register_model(
                validated=validated,
                settings=self.settings,
                registry=self.registry,
                tracker=self.tracker,
                wall_clock=self.wall_clock,
                places=self.places,
            )
        )

    def deploy(self, registered: Plain) -> Plain:
        return plain(
            training_steps.trigger_deployment(
                registered=registered,
                settings=self.settings,
                registry=self.registry,
                records=self.records,
                events=self.events,
                market_clock=StandingMarketClock(NOW),
                wall_clock=self.wall_clock,
            )
        )


def settings_of(home: Path) -> Settings:
    return Settings(
        _env_file=None,
        home=home,
        binance={"instruments": tuple(i.symbol for i in INSTRUMENTS)},
        strategy=STRATEGY,
        training={
            "lookback_days": 6,
            "evaluation_days": 5,
            "fold_days": 4,
            "trials_per_model": 2,
            "models": ("logistic",),
            "sample_every_bars": 12,
        },
    )


@pytest.fixture
def platform(home: Path) -> Platform:
    settings = settings_of(home)
    frames = [market(i.symbol, days=14, momentum=0.85, seed=seed) for seed, i in enumerate(INSTRUMENTS)]
    Stores.filled(Path(settings.lake_uri), frames)
    return Platform(settings)


def down(platform: Platform, step: Callable[[], Any]) -> None:
    """The step says that the server does not answer."""
    platform.switch(on=False)
    with pytest.raises(Unreachable, match="was switched off") as caught:
        step()
    assert "\n" not in str(caught.value)
    platform.switch(on=True)


def test_with_mlflow_down_in_every_step_a_rerun_goes_on_and_one_version_comes_of_it(
    platform: Platform,
) -> None:
    down(platform, platform.prepare)
    (work,) = platform.prepare()
    down(platform, lambda: platform.train(work))
    assert len(platform.trials.trials) == 1  # the first was in the ledger before MLflow heard of it
    searched = platform.train(work)
    assert len(platform.trials.trials) == 2
    assert platform.train(work) == searched
    evaluated = platform.evaluate([searched])
    down(platform, lambda: platform.validate(evaluated))
    validated = platform.validate(evaluated)
    down(platform, lambda: platform.register(validated))
    assert platform.registry.list(MODEL) == []
    registered = platform.register(validated)
    assert platform.register(validated) == registered
    assert [version.semver for version in platform.registry.list(MODEL)] == ["v1.0.0"]
    parents = [run for run in platform.tracker.runs.values() if run.parent_run_id is None]
    assert [run.status for run in parents] == ["FINISHED"]
    assert len(platform.tracker.runs) == 1 + 2

    assert registered["promoted"]
    down(platform, lambda: platform.deploy(registered))
    asked = platform.deploy(registered)
    assert (asked["deploy"], asked["profile"]) == (True, "fast")
    assert platform.deploy(registered) == asked
    assert platform.registry.get(MODEL, Alias.CHALLENGER.value).semver == "v1.0.0"
    assert len(platform.events.events) == 1


def test_a_run_learns_the_labels_that_are_set_and_promotes_only_where_it_may(platform: Platform) -> None:
    labels = LabelSettings(kind=LabelKind.TRIPLE_BARRIER, volatility_span_bars=20)
    strategy = STRATEGY.model_copy(update={"labels": labels})
    platform.settings = platform.settings.model_copy(update={"strategy": strategy})
    (work,) = platform.prepare(promote=False)
    registered = platform.register(platform.validate(platform.evaluate([platform.train(work)])))
    assert not registered["promoted"]
    assert registered["reason"].startswith("promotion was switched off for this run")
    (version,) = platform.registry.list(MODEL)
    assert version.tags["labels"] == "triple_barrier, profit 1.0, stop 1.0, volatility of 20 bars"


def test_the_champion_is_compared_on_the_whole_window_by_what_was_registered_with_it(
    platform: Platform,
) -> None:
    (work,) = platform.prepare()
    platform.register(platform.validate(platform.evaluate([platform.train(work)])))
    platform.registry.set_alias(MODEL, Alias.CHAMPION, "v1.0.0", reason="live", actor="test")
    (work,) = platform.prepare(evaluation_days=4)
    searched = platform.train(work)

    def judged() -> Evaluation:
        results = training_steps.training_results(platform.settings, platform.places)
        return results.read(results.name(platform.evaluate([searched])["evaluation"]), Evaluation)

    whole = judged()
    assert whole.champion_window is not None
    assert whole.champion_window.days == pytest.approx(whole.days, abs=0.2)
    assert f"{whole.skill.rows} as its folds forecast them when it was judged" in whole.champion_statement
    del platform.registry.artifacts[MODEL, "v1.0.0", OUT_OF_SAMPLE_FILE]
    alone = judged()
    assert "were not registered with it" in alone.champion_statement


def aged(work: Path, days: int) -> None:
    """As if nothing in the training folder had been used for so long."""
    then = time.time() - days * 86_400
    for path in (*work.rglob("*"), work):
        os.utime(path, (then, then))


def test_each_run_deletes_what_no_run_needs_and_goes_on_from_what_is_left(platform: Platform) -> None:
    """A finished run is kept; what an abandoned one left goes, but for what the next run uses."""
    (work,) = platform.prepare()
    searched = platform.train(work)
    registered = platform.validate(platform.evaluate([searched]))
    platform.register(registered)
    (abandoned,) = platform.prepare(instruments=["ETHUSDT"])
    folder = Path(work["run"]["prepared"]).parent.parent
    aged(folder, days=3)
    assert platform.prepare() == [work]
    assert not Path(abandoned["run"]["prepared"]).exists()
    tables = [platform.lake.open(name) for name in platform.lake.names()]
    owners = {owner for table in tables for several in table.pinned().values() for owner in several}
    assert owners == {f"training-{Path(work['run']['prepared']).name}"}
    for kept in (work["run"]["prepared"], searched["search"], registered["validation"]):
        assert Path(kept, "result.json").exists()
    assert platform.train(work) == searched


def test_a_step_of_another_run_keeps_the_training_folder_as_it_is(platform: Platform) -> None:
    (abandoned,) = platform.prepare(instruments=["ETHUSDT"])
    folder = Path(abandoned["run"]["prepared"])
    aged(folder.parent.parent, days=3)
    with retention.in_use(Results(folder.parent.parent, folder.parent.parent)):
        platform.prepare()
    assert folder.exists()


def test_the_training_set_is_the_same_whoever_asks_again(platform: Platform) -> None:
    assert platform.prepare() == platform.prepare()


def test_a_lake_without_bars_sends_to_the_data_pipeline(home: Path) -> None:
    with pytest.raises(NotFound, match="expected bars in the lake, were none: run data_pipeline first"):
        Platform(settings_of(home)).prepare()


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"instruments": ["DOGEUSDT"]}, "expected instruments of BTCUSDT, ETHUSDT, was DOGEUSDT"),
        ({"lookback_days": 90}, "expected 94 days of history .* rows with features and labels reach from"),
        ({"evaluation_days": 3}, r"expected evaluation_days of 4 or more, .* \(fold_days\), was 3"),
    ],
)
def test_a_request_that_cannot_be_met_says_why(
    platform: Platform, conf: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        platform.prepare(**conf)


@pytest.mark.parametrize("conf", [{"lookback_days": "many"}, {"lookback_days": 0}, {"models": []}])
def test_a_conf_with_wrong_types_is_named(platform: Platform, conf: dict[str, Any]) -> None:
    with pytest.raises(BadData, match=next(iter(conf))):
        platform.prepare(**conf)


def test_a_family_that_does_not_exist_is_a_mistake_of_the_request(platform: Platform) -> None:
    with pytest.raises(ConfigurationError, match="oracle"):
        platform.train(platform.prepare(models=["oracle"])[0])


def test_a_training_set_that_is_gone_says_to_start_again(platform: Platform) -> None:
    (work,) = platform.prepare()
    Path(work["run"]["prepared"], "result.json").unlink()
    with pytest.raises(NotFound, match=r"expected a PreparedData in .* start the run again"):
        platform.train(work)


def test_a_training_set_that_was_changed_is_not_learnt_from(platform: Platform) -> None:
    (work,) = platform.prepare()
    rows = Path(work["run"]["prepared"], "rows.npy")
    content = bytearray(rows.read_bytes())
    content[-1] ^= 1
    rows.write_bytes(content)
    with pytest.raises(BadData):
        platform.train(work)


@pytest.mark.parametrize(("trouble", "message"), TROUBLES)
def test_a_home_in_trouble_is_one_clear_line(platform: Platform, trouble: str, message: str) -> None:
    with in_trouble(trouble, platform.settings.home), pytest.raises(AutotraderError, match=message) as caught:
        platform.prepare()
    assert "\n" not in str(caught.value)
    assert platform.prepare()
