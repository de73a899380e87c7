"""What stays in the training folder when it is cleaned, and what goes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from autotrader.data.lake import Lake
from autotrader.data.schemas import BARS
from autotrader.ports.registry import Alias, ModelStatus, ModelVersion
from autotrader.training.artifacts import exclusive
from autotrader.training.results import Results
from autotrader.training.retention import (
    GRACE,
    RunRecord,
    clean,
    in_use,
    live_runs,
    pin_owner,
    record_run,
    release_pins,
)
from tests.unit.data.frames import stored_bars

NOW = datetime.now(UTC)
LONG_AGO = NOW - 2 * GRACE
HOLDER = """
import sys
from pathlib import Path
from autotrader.training.results import Results
from autotrader.training.retention import in_use
with in_use(Results(Path(sys.argv[1]), Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def version(run_id: str, *aliases: Alias, status: ModelStatus = ModelStatus.CANDIDATE) -> ModelVersion:
    return ModelVersion("m", 1, "v1.0.0", status, "", aliases, "", run_id, NOW)


def results(work: Path) -> Results:
    return Results(work, work)


def made(work: Path, relative: str, *, at: datetime = LONG_AGO) -> str:
    """A result in the training folder, last used then."""
    folder = work / relative
    with results(work).published(relative) as staging:
        results(work).write(staging, RunRecord("result", NOW, ()))
        (staging / "part").mkdir()
        (staging / "part" / "file").write_bytes(b"content")
    aged(folder, at)
    return relative


def aged(folder: Path, at: datetime) -> None:
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (at.timestamp(), at.timestamp()))


def run(work: Path, number: int, *, days_ago: int) -> str:
    """A finished run with results of its own, and one that all runs share."""
    at = NOW - timedelta(days=days_ago)
    folders = [made(work, f"{kind}/{number}", at=at) for kind in ("dataset", "folds", "evaluation")]
    folders.append(made(work, "search/of-all", at=at))
    (work / "evaluation" / f"{number}.lock").touch()
    record_run(results(work), f"mlflow/run {number}", folders, finished_at=at)
    return f"mlflow/run {number}"


def cleaned(work: Path, *, keep_runs: int = 1, live: frozenset[str] = frozenset()) -> tuple[str, ...]:
    return clean(results(work), keep_runs=keep_runs, live=live, now=NOW)


def left(work: Path) -> set[str]:
    return {f"{p.parent.name}/{p.name}" for p in work.glob("*/*") if p.parent.name != "runs"}


def test_the_newest_runs_keep_what_they_used_and_older_ones_do_not(tmp_path: Path) -> None:
    for number, days_ago in enumerate((9, 30, 20, 40)):
        run(tmp_path, number, days_ago=days_ago)
    gone = cleaned(tmp_path, keep_runs=2)
    assert set(gone) == {f"{kind}/{n}" for kind in ("dataset", "folds", "evaluation") for n in (1, 3)}
    assert left(tmp_path) == {
        "search/of-all",
        *(f"{kind}/{n}" for kind in ("dataset", "folds", "evaluation") for n in (0, 2)),
        "evaluation/0.lock",
        "evaluation/2.lock",
    }
    runs = [f"runs/{folder.name}" for folder in (tmp_path / "runs").iterdir()]
    records = [results(tmp_path).stored(name, RunRecord) for name in runs]
    assert {record.run_id for record in records if record} == {"mlflow/run 0", "mlflow/run 2"}
    assert cleaned(tmp_path, keep_runs=2) == ()


def test_a_live_model_s_run_is_kept_whatever_its_age(tmp_path: Path) -> None:
    old, _ = run(tmp_path, 0, days_ago=90), run(tmp_path, 1, days_ago=9)
    assert cleaned(tmp_path, live=live_runs([version(old, Alias.PREVIOUS)])) == ()
    assert "folds/0" in left(tmp_path)
    assert set(cleaned(tmp_path)) == {"dataset/0", "folds/0", "evaluation/0"}


@pytest.mark.parametrize(
    ("one", "live"),
    [
        (version("r", Alias.CHAMPION), True),
        (version("r", status=ModelStatus.CANARY), True),
        (version("r", status=ModelStatus.CANDIDATE), False),
        (version("r", status=ModelStatus.ARCHIVED), False),
    ],
)
def test_live_is_what_serves_or_may_be_returned_to(one: ModelVersion, live: bool) -> None:
    assert live_runs([one]) == ({"r"} if live else frozenset())


def test_what_was_made_or_read_lately_is_of_a_run_under_way_and_stays(tmp_path: Path) -> None:
    made(tmp_path, "dataset/new", at=NOW - GRACE / 2)
    made(tmp_path, "dataset/read-again")
    made(tmp_path, "search/growing")
    made(tmp_path, "dataset/forgotten")
    assert results(tmp_path).stored("dataset/read-again", RunRecord)
    (tmp_path / "search" / "growing" / "trial.json").write_text("{}")
    assert cleaned(tmp_path) == ("dataset/forgotten",)


def test_nothing_is_cleaned_while_a_step_is_at_work(tmp_path: Path) -> None:
    made(tmp_path, "dataset/old")
    step = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert step.stdout is not None
    assert step.stdout.readline() == b"held\n"
    assert cleaned(tmp_path) == ()
    step.kill()  # a hold ends with its process, however that ends
    step.communicate()
    assert cleaned(tmp_path) == ("dataset/old",)


def test_steps_do_not_keep_each_other_out(tmp_path: Path) -> None:
    with in_use(results(tmp_path)), in_use(results(tmp_path)):
        assert cleaned(tmp_path) == ()


def test_a_lock_that_is_held_is_not_waited_for_where_that_is_asked(tmp_path: Path) -> None:
    with exclusive(tmp_path / "lock"), pytest.raises(BlockingIOError):  # noqa: SIM117
        with exclusive(tmp_path / "lock", wait=False):
            pass


def test_what_killed_steps_and_cleanings_left_goes_too(tmp_path: Path) -> None:
    for name in ("dataset/.expired-a", "folds/.b.x1y2"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").touch()
    made(tmp_path, "dataset/kept", at=NOW)
    cleaned(tmp_path)
    assert left(tmp_path) == {"dataset/kept"}


def lake_with(work: Path, *keys: str) -> Lake:
    """Bars and features of as many versions as training sets, each version pinned for one."""
    lake = Lake(str(work / "lake"))
    for name in ("bars", "features_made"):
        table = lake.table(name, BARS)
        for number, key in enumerate(keys):
            table.upsert([stored_bars(close_shift=float(number))], commit_key=f"{number}")
            table.pin(number + 1, pin_owner(key))
    return lake


def owners(lake: Lake) -> list[dict[int, list[str]]]:
    return [lake.open(name).pinned() for name in lake.names()]


def test_what_a_training_set_pinned_is_released_when_it_goes(tmp_path: Path) -> None:
    work = tmp_path / "training"
    run(work, 0, days_ago=9)
    run(work, 1, days_ago=30)
    lake = lake_with(tmp_path, "0", "1")
    lake.open("bars").pin(2, "somebody else")
    clean(results(work), keep_runs=1, live=(), now=NOW, forget=partial(release_pins, lake, []))
    assert owners(lake) == [{1: ["training-0"], 2: ["somebody else"]}, {1: ["training-0"]}]


def test_versions_that_a_live_model_names_stay_pinned(tmp_path: Path) -> None:
    lake = lake_with(tmp_path, "a", "b")
    tags = {"data_versions": '{"bars": 1, "features": 2}'}
    live = replace(version("r", Alias.PREVIOUS), tags=tags)
    archived = replace(version("s"), tags={"data_versions": '{"bars": 2, "features": 1}'})
    lake.open("bars").pin(1, pin_owner("c"))  # as it was read for another set on the same day
    for key in "abc":
        release_pins(lake, [live, archived], key)
    assert owners(lake) == [{1: ["training-c"]}, {2: ["training-b"]}]


@pytest.mark.parametrize("left", [".expired-a", ".a.x1y2"])
def test_pins_of_training_sets_whose_making_or_deletion_was_killed_go_too(tmp_path: Path, left: str) -> None:
    (tmp_path / "dataset" / left).mkdir(parents=True)
    told: list[str] = []
    clean(results(tmp_path), keep_runs=1, live=(), now=NOW, forget=told.append)
    assert told == ["a"]
    made(tmp_path, "dataset/a", at=NOW)
    (tmp_path / "dataset" / left).mkdir(parents=True)
    clean(results(tmp_path), keep_runs=1, live=(), now=NOW, forget=told.append)
    assert told == ["a"]  # another attempt made it


def test_a_folder_of_a_first_run_is_nothing_to_clean(tmp_path: Path) -> None:
    assert cleaned(tmp_path / "training") == ()
