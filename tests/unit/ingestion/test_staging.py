"""How long a run's staging folder is kept, and two attempts that are at work in one."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from autotrader.ingestion.staging import KEEP, KEPT_RUNS, MAY_LIVE, forget_old_runs, write_frame

HOUR = timedelta(hours=1)


def run_of(folder: Path, name: str, age: timedelta) -> Path:
    (folder / name / "binance").mkdir(parents=True)
    (folder / name / "binance" / "page.gz").write_bytes(b"x")
    moment = time.time() - age.total_seconds()
    os.utime(folder / name, (moment, moment))
    return folder / name


def test_few_failed_runs_are_kept_for_a_while(tmp_path: Path) -> None:
    young = run_of(tmp_path, "young", KEEP - HOUR)
    old = run_of(tmp_path, "old", KEEP + HOUR)
    assert forget_old_runs(tmp_path) == [old]
    assert list(tmp_path.iterdir()) == [young]


def test_of_many_failed_runs_the_newest_are_kept(tmp_path: Path) -> None:
    runs = [run_of(tmp_path, f"{n}", MAY_LIVE + n * HOUR) for n in range(1, KEPT_RUNS + 4)]
    assert sorted(forget_old_runs(tmp_path)) == sorted(runs[KEPT_RUNS:])
    assert sorted(tmp_path.iterdir()) == sorted(runs[:KEPT_RUNS])


def test_a_run_that_may_be_under_way_is_kept_among_many(tmp_path: Path) -> None:
    for n in range(KEPT_RUNS + 3):
        run_of(tmp_path, f"{n}", n * HOUR)
    assert forget_old_runs(tmp_path) == []


def test_a_file_among_the_runs_and_a_folder_that_is_not_there_are_fine(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("x")
    assert forget_old_runs(tmp_path) == []
    assert forget_old_runs(tmp_path / "nothing") == []


def test_folders_of_another_kind_are_left_alone(tmp_path: Path) -> None:
    old = run_of(tmp_path, "manual-1", KEEP + HOUR)
    other = run_of(tmp_path, "data_pipeline", KEEP + HOUR)
    assert forget_old_runs(tmp_path, of=lambda name: name.startswith("manual-")) == [old]
    assert list(tmp_path.iterdir()) == [other]


def test_rows_that_two_attempts_stage_at_once_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rows = tmp_path / "clean.parquet", pl.DataFrame({"close": [1.0, 2.0]})
    replace = Path.replace

    def after_another(unfinished: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        write_frame(path, rows)
        return replace(unfinished, target)

    monkeypatch.setattr(Path, "replace", after_another)
    write_frame(path, rows)
    assert list(tmp_path.iterdir()) == [path]
    assert_frame_equal(pl.read_parquet(path), rows)
