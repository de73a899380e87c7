from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from autotrader.adapters.processes import ProcessSpec, ProcessTable
from autotrader.domain.errors import DependencyError


@pytest.fixture
def table(tmp_path: Path) -> Iterator[ProcessTable]:
    table = ProcessTable(tmp_path / "processes")
    yield table
    table.stop_all()


def spec(name: str, code: str) -> ProcessSpec:
    return ProcessSpec(name, [sys.executable, "-u", "-c", code], {})


def wait_for(path: Path) -> str:
    for _ in range(200):
        if path.exists() and path.read_text().endswith("\n"):
            return path.read_text()
        time.sleep(0.02)
    raise AssertionError(f"{path} was not written")


def test_a_started_process_is_found_by_another_table_of_the_same_folder(
    tmp_path: Path, table: ProcessTable
) -> None:
    started = table.start(spec("sleeper", "import time; time.sleep(60)"))
    found = ProcessTable(tmp_path / "processes").process("sleeper")
    assert found is not None
    assert found.pid == started.pid


def test_starting_twice_gives_one_process(table: ProcessTable) -> None:
    first = table.start(spec("sleeper", "import time; time.sleep(60)"))
    second = table.start(spec("sleeper", "import time; time.sleep(60)"))
    assert first.pid == second.pid


def test_a_process_id_that_the_system_used_again_is_not_mistaken_for_ours(
    tmp_path: Path, table: ProcessTable
) -> None:
    table.start(spec("sleeper", "import time; time.sleep(60)"))
    record = tmp_path / "processes" / "sleeper.json"
    kept = record.read_text()
    stranger = {**json.loads(kept), "pid": psutil.Process().pid}
    record.write_text(json.dumps(stranger))
    assert table.process("sleeper") is None
    record.write_text(kept)


def test_stopping_ends_children_that_ignore_the_signal_or_left_the_session(
    tmp_path: Path, table: ProcessTable
) -> None:
    pids = tmp_path / "pids"
    code = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
stray = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{stray.pid}}\\n")
time.sleep(60)
"""
    table.start(spec("stubborn", code))
    family = [int(pid) for pid in wait_for(pids).split()]
    assert table.stop_all(grace_seconds=0.5) == ["stubborn"]
    alive = [pid for pid in family if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
    assert alive == []
    assert table.names() == []


def test_stopping_leaves_alone_what_a_process_started_through_another_table(
    tmp_path: Path, table: ProcessTable
) -> None:
    other = ProcessTable(tmp_path / "other")
    code = f"""
import time
from pathlib import Path
from autotrader.adapters.processes import ProcessSpec, ProcessTable
table = ProcessTable(Path({str(tmp_path / "other")!r}))
table.start(ProcessSpec("sleeper", [{sys.executable!r}, "-c", "import time; time.sleep(60)"], {{}}))
Path({str(tmp_path / "started")!r}).write_text("yes\\n")
time.sleep(60)
"""
    table.start(spec("starter", code))
    wait_for(tmp_path / "started")
    assert table.stop_all() == ["starter"]
    assert other.process("sleeper") is not None
    assert other.stop_all() == ["sleeper"]


def test_what_was_started_is_told_until_it_is_stopped(table: ProcessTable) -> None:
    started = table.start(spec("ends", "pass"))
    psutil.wait_procs([started], timeout=10)
    assert table.argv("ends") == [sys.executable, "-u", "-c", "pass"]
    table.stop_all()
    assert table.argv("ends") is None


def test_a_process_that_died_is_reported_with_the_end_of_its_log(table: ProcessTable) -> None:
    started = table.start(spec("dies", "print('the port is taken'); raise SystemExit(1)"))
    psutil.wait_procs([started], timeout=10)
    with pytest.raises(DependencyError, match=r"dies ended unexpectedly.*\n.*the port is taken"):
        table.require_running("dies")


def test_stopping_when_nothing_runs_stops_nothing(table: ProcessTable) -> None:
    assert table.stop_all() == []


def test_a_process_that_was_killed_and_is_not_yet_gone_is_started_anew(
    tmp_path: Path, table: ProcessTable
) -> None:
    # Its memory takes the system a while.
    ready = tmp_path / "ready"
    code = f"import time; kept = b'x' * 400_000_000; open({str(ready)!r}, 'w').write('1\\n'); time.sleep(60)"
    large = spec("large", code)
    first = table.start(large)
    wait_for(ready)
    first.kill()
    while first.is_running() and first.status() != psutil.STATUS_ZOMBIE and first.cmdline():
        time.sleep(0.0005)
    assert table.start(large).pid != first.pid
