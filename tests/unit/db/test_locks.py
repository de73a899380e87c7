"""Locks that end with the process that holds them."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from autotrader.db.engine import connect
from autotrader.db.locks import exclusive
from autotrader.domain.errors import Unreachable
from tests.killing import run_killed
from tests.services import empty_database, fresh_database


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return fresh_database(request.param, tmp_path)


def _hold_and_die(url: str) -> None:
    with exclusive(connect(url), "registry"):
        os.kill(os.getpid(), signal.SIGKILL)


def test_only_one_holds_a_lock_and_the_other_is_told(url: str) -> None:
    again = exclusive(connect(url), "registry", wait_seconds=0)
    with exclusive(connect(url), "registry"):
        with pytest.raises(Unreachable, match="'registry'"), again:
            pytest.fail("expected the lock to be taken")
        with exclusive(connect(url), "another", wait_seconds=0):
            pass
    with exclusive(connect(url), "registry", wait_seconds=0):
        pass


def test_a_lock_that_becomes_free_in_time_is_taken(url: str) -> None:
    order: list[str] = []
    held = threading.Event()

    def hold() -> None:
        with exclusive(connect(url), "registry"):
            held.set()
            time.sleep(0.2)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with exclusive(connect(url), "registry", wait_seconds=60):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_a_lock_ends_when_its_work_fails(url: str) -> None:
    with pytest.raises(RuntimeError), exclusive(connect(url), "registry"):
        raise RuntimeError
    with exclusive(connect(url), "registry", wait_seconds=0):
        pass


@pytest.mark.integration
def test_a_lock_ends_with_a_process_that_is_killed(url: str) -> None:
    assert run_killed(_hold_and_die, url)
    with exclusive(connect(url), "registry", wait_seconds=60):
        pass


def test_a_lock_in_a_folder_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    url = empty_database("sqlite", tmp_path / "nowhere")
    with pytest.raises(Unreachable, match="nowhere"), exclusive(connect(url), "registry"):
        pass
