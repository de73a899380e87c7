"""Files that are written whole or not at all, and what killed writers leave of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from autotrader import files
from autotrader.files import TEMPORARY_PREFIX, remove_crumbs, write_atomically

KILLED_AMID_A_WRITE = """
import os, signal, sys
from pathlib import Path
from autotrader.files import write_atomically
os.replace = Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
write_atomically(Path(sys.argv[1]) / "page.gz", b"half", durable=False)
"""
STOPPED_AMID_A_WRITE = KILLED_AMID_A_WRITE.replace("SIGKILL", "SIGSTOP")


def crumbs(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{TEMPORARY_PREFIX}*"))


def grow_old(path: Path) -> None:
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", KILLED_AMID_A_WRITE, str(tmp_path)], check=False)
    assert died.returncode == -signal.SIGKILL
    (crumb,) = crumbs(tmp_path)
    files.sweep_once.cache_clear()
    write_atomically(tmp_path / "other", b"x")
    assert crumbs(tmp_path) == [crumb]  # young: its writer may be about to lock it
    grow_old(crumb)
    files.sweep_once.cache_clear()  # as in another process
    write_atomically(tmp_path / "page.gz", b"whole")
    assert crumbs(tmp_path) == []
    assert (tmp_path / "page.gz").read_bytes() == b"whole"


def test_what_a_living_writer_holds_stays_however_old(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", STOPPED_AMID_A_WRITE, str(tmp_path)])
    try:
        os.waitid(os.P_PID, writer.pid, os.WSTOPPED | os.WNOWAIT)
        (held,) = crumbs(tmp_path)
        grow_old(held)
        assert remove_crumbs(tmp_path) == 0
        assert crumbs(tmp_path) == [held]
    finally:
        writer.kill()
        writer.wait()
    assert remove_crumbs(tmp_path) == 1


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("page.gz", "tmp-1", ".hidden"):
        (tmp_path / name).write_bytes(b"x")
        grow_old(tmp_path / name)
    assert remove_crumbs(tmp_path, older_than=timedelta(0)) == 0
    assert len(list(tmp_path.iterdir())) == 3
