"""A load that is killed anywhere, or runs beside another, leaves the tables as if it had not been."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from autotrader.data.bars import BarStore
from autotrader.data.delta_log import DeltaLog
from autotrader.data.lake import Lake
from autotrader.data.schemas import KEY
from autotrader.ports.holds import Hold
from tests.fakes.holds import InMemoryHolds
from tests.unit.data.frames import FETCHED, MINUTE, START, stored_bars
from tests.unit.data.kills import finished, finished_in_all, folders_and_lines, killed_after, killed_at_lines

KILLS = int(os.environ.get("KILLS", "8"))  # how many moments, spread over the whole of a load
FIRST = FETCHED
SECOND = FETCHED + timedelta(days=1)


def store(folder: Path) -> BarStore:
    return BarStore(Lake(str(folder)), InMemoryHolds())


def load_and_restate(folder: Path) -> None:
    """Two loads of two instruments: the second restates some bars and brings new ones."""
    bars = store(folder)
    names = ["BTCUSDT", "ETHUSDT"]
    bars.upsert([stored_bars(n, seen_at=FIRST) for n in names], commit_key="first")
    again = [
        stored_bars(
            n, minutes=60, start=START + 30 * MINUTE, close_shift=1, fetched_at=SECOND, seen_at=SECOND
        )
        for n in names
    ]
    bars.upsert(again, commit_key="second")


def tables(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    bars = store(folder)
    return bars.bars.read(), bars.history.read()


def assert_same_tables(folder: Path, reference: Path) -> None:
    for found, expected in zip(tables(folder), tables(reference), strict=True):
        assert_frame_equal(found, expected)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference") / "lake"
    load_and_restate(folder)
    assert [len(t) for t in tables(folder)] == [180, 60]
    return folder


@pytest.mark.integration
def test_killed_at_any_line_and_run_again_the_tables_are_the_same(tmp_path: Path, reference: Path) -> None:
    moments = folders_and_lines(load_and_restate, tmp_path, count=KILLS, seed=20240229)
    assert killed_at_lines(load_and_restate, moments)
    for folder in moments:
        standing, _ = tables(folder)
        assert not standing.select(KEY).is_duplicated().any()
    assert finished_in_all(load_and_restate, moments)
    for folder in moments:
        assert_same_tables(folder, reference)
        assert store(folder).bars.damaged() == {}
        store(folder).bars.vacuum(retention=timedelta(0))
        assert_same_tables(folder, reference)


def load_and_die_before_the_commit(folder: Path) -> None:
    """Killed when the data files have their names and no version has them."""

    def die(*_: object, **__: object) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("was not killed")

    bars = store(folder)
    bars.upsert([stored_bars(seen_at=FIRST)], commit_key="first")
    DeltaLog.commit = die  # type: ignore[method-assign]
    bars.upsert([stored_bars("ETHUSDT", seen_at=FIRST)], commit_key="second")


@pytest.mark.integration
def test_files_of_a_load_that_was_killed_before_its_commit_are_vacuumed_once_they_are_old(
    tmp_path: Path,
) -> None:
    assert not finished((load_and_die_before_the_commit, tmp_path))
    lake, bars = Lake(str(tmp_path)), store(tmp_path).bars
    named = set(tmp_path.rglob("*instrument=BTCUSDT/*.parquet"))
    left = set(tmp_path.rglob("*.parquet")) - named
    assert named
    assert left
    before = bars.read()
    assert lake.vacuum(retention=timedelta(days=1)) == {}  # its writer might be at work still
    two_days_ago = time.time() - 2 * 86_400
    for file in named | left:
        os.utime(file, (two_days_ago, two_days_ago))
    deleted = lake.vacuum(retention=timedelta(days=1))
    assert {tmp_path / table / file for table, files in deleted.items() for file in files} == left
    assert set(tmp_path.rglob("*.parquet")) == named
    assert_frame_equal(store(tmp_path).bars.read(), before)
    store(tmp_path).upsert([stored_bars("ETHUSDT", seen_at=FIRST)], commit_key="second")
    assert store(tmp_path).bars.read().height == 2 * before.height


class StoppingLog:
    """Stops at the n-th commit of any table: before it is made, or when it is made and not yet known."""

    def __init__(self, number: int, *, made: bool) -> None:
        self._left = number
        self._made = made
        self._commit = DeltaLog.commit

    def commit(self, log: DeltaLog, *args: object, **kwargs: object) -> int:
        self._left -= 1
        if self._left == 0:
            if self._made:
                self._commit(log, *args, **kwargs)
            raise KeyboardInterrupt
        return self._commit(log, *args, **kwargs)


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_stopped_at_any_commit_and_run_again_the_tables_are_the_same(
    tmp_path: Path, reference: Path, number: int, made: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = StoppingLog(number, made=made)
    monkeypatch.setattr(
        DeltaLog, "commit", lambda log, *args, **kwargs: stopping.commit(log, *args, **kwargs)
    )
    with pytest.raises(KeyboardInterrupt):
        load_and_restate(tmp_path)
    monkeypatch.undo()
    load_and_restate(tmp_path)
    assert_same_tables(tmp_path, reference)
    assert store(tmp_path).bars.damaged() == {}


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize("number", [1, 2])
def test_an_undoing_beside_another_hold_is_whole_however_often_it_is_begun(
    tmp_path: Path, number: int, made: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds = InMemoryHolds()
    bars = BarStore(Lake(str(tmp_path)), holds)
    bars.upsert([stored_bars()], commit_key="first")
    first, second = (
        Hold(name, None, START, START + minutes * MINUTE, "bad", "ops", placed_at=FIRST)
        for name, minutes in (("h1", 20), ("h2", 10))
    )
    for hold in (first, second):
        holds.place(hold)
        bars.take_back(hold, superseded_at=SECOND)
    stopping = StoppingLog(number, made=made)
    monkeypatch.setattr(
        DeltaLog, "commit", lambda log, *args, **kwargs: stopping.commit(log, *args, **kwargs)
    )
    with pytest.raises(KeyboardInterrupt):
        bars.put_back(first)
    monkeypatch.undo()
    bars.put_back(first)
    holds.release("h1", actor="ops", at=SECOND)
    assert_frame_equal(bars.bars.read(), stored_bars()[10:])
    assert bars.put_back(second) == 10
    assert_frame_equal(bars.bars.read(), stored_bars())


@pytest.mark.integration
@pytest.mark.parametrize("milliseconds", [30, 60, 90, 130])
def test_killed_from_outside_and_run_again_the_tables_are_the_same(
    tmp_path: Path, reference: Path, milliseconds: int
) -> None:
    killed_after(load_and_restate, tmp_path, milliseconds / 1000)
    assert finished((load_and_restate, tmp_path))
    assert_same_tables(tmp_path, reference)


@pytest.mark.integration
def test_the_same_load_in_two_processes_at_once_is_done_once(tmp_path: Path, reference: Path) -> None:
    assert finished((load_and_restate, tmp_path), (load_and_restate, tmp_path))
    assert_same_tables(tmp_path, reference)


def write_odd(folder: Path) -> None:
    _write_overlapping(folder, "odd")


def write_even(folder: Path) -> None:
    _write_overlapping(folder, "even")


def _write_overlapping(folder: Path, who: str) -> None:
    bars = store(folder)
    for n in range(8):
        frames = [
            stored_bars(name, minutes=20, start=START + 10 * n * MINUTE) for name in ("BTCUSDT", "ETHUSDT")
        ]
        bars.upsert(frames, commit_key=f"{who}-{n}")


@pytest.mark.integration
def test_two_writers_of_the_same_keys_at_once_double_and_lose_none(tmp_path: Path) -> None:
    assert finished((write_odd, tmp_path), (write_even, tmp_path))
    standing, past = tables(tmp_path)
    expected = [stored_bars(name, minutes=90) for name in ("BTCUSDT", "ETHUSDT")]
    assert_frame_equal(standing, pl.concat(expected))
    assert past.is_empty()
