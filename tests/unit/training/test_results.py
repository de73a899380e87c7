"""Folders that appear whole or not at all, and what attempts leave that were killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from autotrader.data.places import bring
from autotrader.ports.places import Place
from autotrader.training import results as module
from autotrader.training.results import RESULT_FILE, Results

_CONTEXT = multiprocessing.get_context("spawn")


def results_of(folder: Path) -> Results:
    return Results(folder.parent.parent, folder.parent.parent)


def _killed_while_writing(folder: Path) -> None:
    with results_of(folder).published("dataset/key") as staging:
        (staging / "half.npy").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_attempt_left_goes_with_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "dataset" / "key"
    process = _CONTEXT.Process(target=_killed_while_writing, args=(folder,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(list(folder.parent.iterdir())) == 1
    with results_of(folder).published("dataset/key") as staging:
        (staging / RESULT_FILE).write_text("{}")
        assert list(folder.parent.iterdir()) == [staging]
    assert list(folder.parent.iterdir()) == [folder]


def test_an_attempt_that_is_under_way_is_let_be_and_the_first_to_end_stays(tmp_path: Path) -> None:
    folder = tmp_path / "dataset" / "key"
    with results_of(folder).published("dataset/key") as first:
        (first / RESULT_FILE).write_text("first")
        with results_of(folder).published("dataset/key") as second:
            assert first.exists()
            (second / RESULT_FILE).write_text("second")
    assert (folder / RESULT_FILE).read_text() == "second"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_copy_that_two_steps_of_a_machine_bring_at_once_is_not_taken_from_who_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker, here = (Results(tmp_path / name, tmp_path / "place") for name in ("maker", "here"))
    with maker.published("dataset/key") as staging:
        maker.write(staging, {})
    both, install = Barrier(2), module._install
    copies = []

    def bring_together(place: Place, file: Path) -> None:
        bring(place, file)
        both.wait(60)

    def install_and_look(staging: Path, folder: Path) -> None:
        install(staging, folder)
        copies.append(folder.stat().st_ino)

    monkeypatch.setattr(module, "bring", bring_together)
    monkeypatch.setattr(module, "_install", install_and_look)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: here.read("dataset/key", dict), range(2))) == [{}, {}]
    assert len(copies) == 2
    assert len(set(copies)) == 1
    assert [path.name for path in (here.folder / "dataset").iterdir()] == ["key"]
