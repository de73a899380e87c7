"""Two traders on one account: whoever was stopped while another took over sends nothing, and says so."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from autotrader.db.engine import open_database
from autotrader.db.trading_records import SqlTradingRecords
from autotrader.domain.errors import ExitCode
from autotrader.ports.trading import Page

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120.0


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    children: list[subprocess.Popen[str]] = []
    yield children
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def a_trader(folder: Path) -> subprocess.Popen[str]:
    """One that takes its time: it waits a little at each bar, and its lease is short."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.soaking", str(folder), "1", "1", "--slowly"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_an_old_process_that_wakes_sends_nothing_and_ends_refused(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    records = SqlTradingRecords(open_database(f"sqlite:///{tmp_path}/autotrader.db"))
    started.append(old := a_trader(tmp_path))
    assert old.stdout is not None
    assert "trading" in old.stdout.readline()
    _until(lambda: len(records.orders("main", Page())) >= 2)
    _pause(old, tmp_path / "autotrader.db")

    started.append(new := a_trader(tmp_path))
    assert new.stdout is not None
    assert "trading" in json.loads(new.stdout.readline())
    lease = records.lease("main")
    assert lease is not None
    assert f"/{new.pid}/" in lease.owner

    os.kill(old.pid, signal.SIGCONT)
    assert old.wait(SECONDS) == ExitCode.REFUSED
    at_that_time = len(records.orders("main", Page()))
    _until(lambda: len(records.orders("main", Page())) > at_that_time)
    os.kill(new.pid, signal.SIGTERM)
    assert new.wait(SECONDS) == 0

    # The venue has what is recorded, each order once, and nothing else.
    journal = [entry for line in _journal(tmp_path) for entry in json.loads(line)]
    sent = [entry["order"] for entry in journal if "quantity" in entry and "fill" not in entry]
    assert len(sent) == len(set(sent))
    assert set(sent) <= {o.client_order_id for o in records.orders("main", Page(limit=10_000))}
    filled = [entry["fill"] for entry in journal if "fill" in entry]
    assert sorted(filled) == sorted(f.fill_id for f in records.fills("main", Page(limit=10_000)))
    lease_after = records.lease("main")
    assert lease_after is not None
    assert lease_after.token == lease.token


def _journal(folder: Path) -> list[str]:
    return (folder / "paper-main.jsonl").read_text().splitlines()


def _until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


def _pause(process: subprocess.Popen[str], database: Path) -> None:
    """Stop it between two transactions: one that sleeps within a write holds up all of SQLite's writers."""
    deadline = time.monotonic() + SECONDS
    while True:
        os.kill(process.pid, signal.SIGSTOP)
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < deadline
        with contextlib.closing(sqlite3.connect(database, timeout=0.1, isolation_level=None)) as probe:
            try:
                probe.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                os.kill(process.pid, signal.SIGCONT)
                assert time.monotonic() < deadline
            else:
                return
