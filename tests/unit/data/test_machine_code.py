"""Machine code of several processes that begin at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from types import SimpleNamespace
from typing import Any

import numba
import pytest
from numba.core.caching import IndexDataCacheFile

from autotrader.data.machine_code import keep_in_turn
from autotrader.execution import compiled as of_execution
from autotrader.features import compiled as of_features


def kept(folder: Path) -> Any:
    """What a process has of a function's code on disk."""
    return IndexDataCacheFile(str(folder), "kernel", ("stamp", 1))


def test_of_code_that_two_processes_write_at_once_each_is_found_under_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, read = Barrier(2), IndexDataCacheFile._load_index

    def read_together(file: Any) -> Any:
        found = read(file)
        with contextlib.suppress(BrokenBarrierError):  # the other one has to wait for its turn
            both.wait(0.5)
        return found

    def save(key: str) -> None:
        own = kept(tmp_path)
        keep_in_turn(SimpleNamespace(_cache=SimpleNamespace(_cache_file=own)))
        own.save(key, f"code for {key}")

    with monkeypatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(IndexDataCacheFile, "_load_index", read_together)
        list(pool.map(save, ("contiguous", "with gaps")))
    found = kept(tmp_path)
    assert found.load("contiguous") == "code for contiguous"
    assert found.load("with gaps") == "code for with gaps"


def test_where_no_lock_is_to_be_had_code_is_kept_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "numba.lock").mkdir()
    own = kept(tmp_path)
    keep_in_turn(SimpleNamespace(_cache=SimpleNamespace(_cache_file=own)))
    own.save("contiguous", "code")
    assert kept(tmp_path).load("contiguous") == "code"


def double(x: float) -> float:
    return 2 * x


@pytest.mark.parametrize("compile_", [of_execution.njit, of_features.entry_point])
def test_code_of_ours_is_kept_in_turn(
    compile_: Callable[[Any], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert compile_(double)(2.0) == 4.0
    assert list(tmp_path.rglob("numba.lock"))


def test_what_is_not_compiled_is_kept_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    assert of_features.entry_point(double)(2.0) == 4.0
