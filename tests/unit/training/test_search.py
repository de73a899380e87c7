"""The search: bounded, honest about every trial, and the same whenever and however often it is cut short."""

from __future__ import annotations

import os
import signal as signals
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, event

from autotrader.domain.errors import BadData, Unreachable
from autotrader.training import models, trials
from autotrader.training.dataset import open_dataset
from autotrader.training.models import Family, family
from autotrader.training.search import FamilySearch
from autotrader.training.statistics import sharpe_ratio
from autotrader.training.trials import TrialOutcome
from autotrader.training.windows import embargo_of, evaluation_folds, search_folds
from tests.fakes.training_run import TRAINING, TrainingRun, signal_run

FAMILY = "logistic"
TRIALS = TRAINING.trials_per_model


def again(run: TrainingRun, work: Path) -> TrainingRun:
    """The same run in a folder of its own, as if nothing had been searched yet."""
    return TrainingRun(run.stores, work, run.strategy, run.training)


def told(search: FamilySearch) -> list[tuple[Any, ...]]:
    """What must not depend on how the search went."""
    return [(t.number, t.key, t.state, t.skill, t.fold_skills, t.sharpe, t.net_return) for t in search.trials]


def test_a_search_looks_at_nothing_beyond_the_first_training_window(signal: TrainingRun) -> None:
    data = open_dataset(signal.prepare())
    first = evaluation_folds(data, TRAINING)[0]
    for fold in search_folds(data, TRAINING):
        used = np.concatenate([fold.train, fold.test])
        assert data.end_ts[used].max() + np.timedelta64(embargo_of(data)) <= data.ts[first.test].min()


def test_every_trial_is_in_the_ledger_and_a_child_run(signal: TrainingRun) -> None:
    tried = [t for s in signal.searches() for t in s.trials]
    assert {t.key for t in tried} == set(signal.ledger.trials)
    assert {t.state for t in tried} == {"complete", "pruned"}
    children = [r for r in signal.tracker.runs.values() if r.parent_run_id == signal.run_id]
    assert len(children) == len(tried)
    assert {r.status for r in children} == {"FINISHED", "KILLED"}
    for t in tried:
        recorded = signal.ledger.trials[t.key]
        assert recorded.state == t.state
        assert (recorded.sharpe is None) == (t.state != "complete")
        assert recorded.window_start < recorded.window_end


def test_complete_trials_keep_their_returns_over_the_same_hours(signal: TrainingRun) -> None:
    for search in signal.searches():
        kept = [
            np.load(Path(search.folder) / t.returns_file) for t in search.trials if t.returns_file is not None
        ]
        assert len({len(r) for r in kept}) == 1
        for trial, returns in zip([t for t in search.trials if t.returns_file], kept, strict=True):
            assert trial.net_return == pytest.approx(np.prod(1 + returns) - 1)
            assert np.isfinite(sharpe_ratio(returns))


def test_the_best_trial_is_a_complete_one_and_beats_the_base_rates(signal: TrainingRun) -> None:
    for search in signal.searches():
        assert search.best.state == "complete"
        assert search.best.skill == max(t.skill for t in search.trials if t.state == "complete" and t.skill)
    assert max(s.best.skill or 0 for s in signal.searches()) > 0.05


def test_the_same_search_again_is_read_not_repeated(signal: TrainingRun) -> None:
    before = len(signal.ledger.trials), len(signal.tracker.runs)
    assert signal.search(FAMILY) == signal.search(FAMILY)
    assert (len(signal.ledger.trials), len(signal.tracker.runs)) == before


class Killed(BaseException):
    """Stands for an end that no code can catch."""


@pytest.mark.parametrize("step", [4, 9, 13, 26])
def test_a_search_cut_short_anywhere_goes_on_without_repeating_or_counting_twice(
    signal: TrainingRun, tmp_path: Path, step: int
) -> None:
    import optuna

    run = again(signal, tmp_path / "work")
    steps = iter(range(1, 1_000))

    def counted(call: Any) -> Any:
        def stepping(*args: Any, **kwargs: Any) -> Any:
            if next(steps) == step:
                raise Killed
            result = call(*args, **kwargs)
            if next(steps) == step:
                raise Killed
            return result

        return stepping

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "fit_model", counted(trials.fit_model))
        patch.setattr(trials, "write_whole", counted(trials.write_whole))
        patch.setattr(optuna.Study, "tell", counted(optuna.Study.tell))
        patch.setattr(run.ledger, "record", counted(run.ledger.record))
        patch.setattr(run.tracker, "finish", counted(run.tracker.finish))
        with pytest.raises(Killed):
            run.search(FAMILY)
    assert told(run.search(FAMILY)) == told(signal.search(FAMILY))
    assert len(run.ledger.trials) == TRIALS
    assert sum(r.parent_run_id is not None for r in run.tracker.runs.values()) == TRIALS


@pytest.mark.parametrize("made", ["CREATE TABLE studies", "CREATE UNIQUE INDEX"])
def test_a_kill_while_the_trial_database_is_made_leaves_no_half_of_it(
    signal: TrainingRun, tmp_path: Path, made: str
) -> None:
    run = again(signal, tmp_path / "work")

    def kill(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.strip().startswith(made):
            raise Killed

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    event.listen(Engine, "after_cursor_execute", kill)
    try:
        with pytest.raises(Killed):
            run.search(FAMILY)
    finally:
        event.remove(Engine, "after_cursor_execute", kill)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "fit_model", killed)
        with pytest.raises(Killed):
            run.search(FAMILY)
    assert told(run.search(FAMILY)) == told(signal.search(FAMILY))


_SEARCH_AND_WAIT = """
import signal
import sys
from pathlib import Path
from autotrader.training import trials
from tests.fakes.training_run import signal_run

write_whole = trials.write_whole

def write_and_wait(path, content):
    write_whole(path, content)
    if path.suffix == ".json":
        print("tried", flush=True)
        signal.pause()

trials.write_whole = write_and_wait
signal_run(Path(sys.argv[1])).search("logistic")
"""


@pytest.mark.integration
def test_a_search_killed_from_outside_goes_on(signal: TrainingRun, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", _SEARCH_AND_WAIT, str(tmp_path)],
        cwd=root,
        env=environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert b"tried\n" in process.stdout, "the search ended before it could be killed"
    process.send_signal(signals.SIGKILL)
    process.communicate()
    assert list(tmp_path.glob("work/trials/*/trial-*.json"))
    assert not list(tmp_path.glob("work/search/*"))
    rerun = TrainingRun(signal.stores, tmp_path / "work", signal.strategy, signal.training)
    assert [t[2:] for t in told(rerun.search(FAMILY))] == [t[2:] for t in told(signal.search(FAMILY))]
    assert len(rerun.ledger.trials) == TRIALS


def test_two_searches_at_once_are_one(signal: TrainingRun, tmp_path: Path) -> None:
    run = again(signal, tmp_path / "work")
    run.prepare()
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(run.search, [FAMILY, FAMILY])
    assert one == other
    assert len(run.ledger.trials) == TRIALS


def test_a_tracking_server_that_is_down_ends_the_search_and_nothing_is_lost(
    signal: TrainingRun, tmp_path: Path
) -> None:
    run = again(signal, tmp_path / "work")
    run.tracker.reachable = False
    with pytest.raises(Unreachable):
        run.search(FAMILY)
    run.tracker.reachable = True
    assert told(run.search(FAMILY)) == told(signal.search(FAMILY))


def _failing_family(fails: Any) -> Family:
    kind = family(FAMILY)
    made = iter(range(1_000))

    def build(parameters: Any, seed: int, threads: int) -> Any:
        if fails(next(made)):
            raise ValueError("no convergence")
        return kind.build(parameters, seed, threads)

    return Family(FAMILY, kind.suggest, build)


def test_a_trial_that_fails_is_counted_and_the_search_goes_on(
    signal: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = again(signal, tmp_path / "work")
    monkeypatch.setitem(models.FAMILIES, FAMILY, _failing_family(lambda n: n == 0))
    search = run.search(FAMILY)
    first: TrialOutcome = search.trials[0]
    assert (first.state, first.reason, first.skill) == ("failed", "ValueError: no convergence", None)
    assert len(search.trials) == TRIALS
    assert run.ledger.trials[first.key].state == "failed"
    assert search.best.number > 0


def test_a_search_in_which_nothing_completes_says_why(
    signal: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = again(signal, tmp_path / "work")
    monkeypatch.setitem(models.FAMILIES, FAMILY, _failing_family(lambda _: True))
    with pytest.raises(BadData, match=r"expected a trial of logistic to complete.*no convergence"):
        run.search(FAMILY)
    assert len(run.ledger.trials) == TRIALS


def test_the_market_of_these_tests_is_always_the_same(signal: TrainingRun, tmp_path: Path) -> None:
    assert signal_run(tmp_path).prepare().sha256 == signal.prepare().sha256
