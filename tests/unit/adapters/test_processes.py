from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import psutil
import pytest

from autotrader.adapters.process_owner import has_ended, this_process
from autotrader.adapters.processes import ProcessSpec, ProcessTable
from autotrader.domain.errors import DependencyError


@pytest.fixture
def table(tmp_path: Path) -> Iterator[ProcessTable]:
    table = ProcessTable(tmp_path / "processes")
    yield table
    table.stop_all()


def spec(name: str, code: str) -> ProcessSpec:
    return ProcessSpec(name, [sys.executable, "-u", "-c", code], {})


class Procfs:
    """What the system tells of processes: of those that are shown, and of the time it was switched on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.set_clock(0)

    def show(self, pid: int, *names: str) -> None:
        shown = self.folder / str(pid)
        shown.mkdir()
        for name in names:
            (shown / name).symlink_to(f"/proc/{pid}/{name}")

    def set_clock(self, seconds: int) -> None:
        """As after the machine's clock was set: it then was switched on at another time."""
        before = Path("/proc/stat").read_text()
        after = re.sub(r"\nbtime (\d+)", lambda found: f"\nbtime {int(found[1]) + seconds}", before)
        (self.folder / "stat").write_text(after)


@contextlib.contextmanager
def told_by(procfs: Procfs) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psutil, "PROCFS_PATH", str(procfs.folder))
        yield


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
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


def test_of_several_who_start_it_at_once_one_does(tmp_path: Path, table: ProcessTable) -> None:
    sleeper = spec("sleeper", "import time; time.sleep(60)")
    tables = [table, *(ProcessTable(tmp_path / "processes") for _ in range(3))]
    together = Barrier(len(tables))

    def start(own: ProcessTable) -> int:
        together.wait(30)
        return own.start(sleeper).pid

    with ThreadPoolExecutor(len(tables)) as pool:
        assert len(set(pool.map(start, tables))) == 1


def test_a_process_that_begins_just_now_is_not_taken_for_one_that_was_killed(
    tmp_path: Path, table: ProcessTable
) -> None:
    """The system tells its arguments a moment after it has begun."""
    started = table.start(spec("sleeper", "import time; time.sleep(60)"))
    procfs = Procfs(tmp_path / "proc")
    procfs.show(started.pid, "stat", "status")
    arguments = procfs.folder / str(started.pid) / "cmdline"
    arguments.touch()
    told = threading.Timer(0.3, arguments.write_bytes, [b"python\0"])
    told.start()
    with told_by(procfs):
        assert table.process("sleeper") == started
    told.join()


def test_a_process_is_still_ours_after_the_clock_was_set(tmp_path: Path, table: ProcessTable) -> None:
    started = table.start(spec("sleeper", "import time; time.sleep(60)"))
    owner = this_process()
    procfs = Procfs(tmp_path / "proc")
    procfs.show(started.pid, "stat", "status", "cmdline")
    procfs.show(os.getpid(), "stat", "status")
    for step in (3600, -3600):
        procfs.set_clock(step)
        with told_by(procfs):
            assert table.process("sleeper") == started
            assert not has_ended(owner)


def test_a_record_of_an_earlier_boot_is_nobody_s(tmp_path: Path, table: ProcessTable) -> None:
    table.start(spec("sleeper", "import time; time.sleep(60)"))
    record = tmp_path / "processes" / "sleeper.json"
    kept = record.read_text()
    record.write_text(json.dumps({**json.loads(kept), "boot": "another"}))
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
    psutil.wait_procs([started], timeout=60)
    assert table.argv("ends") == [sys.executable, "-u", "-c", "pass"]
    table.stop_all()
    assert table.argv("ends") is None


def test_a_process_that_died_is_reported_with_the_end_of_its_log(table: ProcessTable) -> None:
    started = table.start(spec("dies", "print('the port is taken'); raise SystemExit(1)"))
    psutil.wait_procs([started], timeout=60)
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
