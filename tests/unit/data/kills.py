"""Ends work by SIGKILL at a chosen line of this package's code, or at a chosen moment from outside.

    moments = folders_and_lines(work, folder, count=20, seed=7)
    assert killed_at_lines(work, moments)
    assert finished_in_all(work, moments)

Work is a module's function of a folder. It runs in a process of its own, forked from a server that
has imported its module and started no thread: a fork of the test process itself would inherit the
locks of polars' threads without the threads.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

import autotrader

Work = Callable[[Path], None]

_AT_ONCE = 4
_PACKAGE = str(Path(autotrader.__file__).parent)


def folders_and_lines(work: Work, folder: Path, *, count: int, seed: int) -> dict[Path, int]:
    """Folders, and in each the number of an executed line, spread over the whole of the work.

    Runs the work once to its end to count its lines, and picks one of each of `count` stretches.
    """
    counted = folder / "lines"
    assert _run(_order(work, folder / "counted", count_to=str(counted))) == [0]
    total = int(counted.read_text())
    pick = random.Random(seed)
    return {
        folder / f"killed-{part}": pick.randrange(total * part // count, total * (part + 1) // count) + 1
        for part in range(count)
    }


def killed_at_lines(work: Work, moments: Mapping[Path, int]) -> bool:
    """In each folder, do the work until that many lines of the package have run; whether all died."""
    orders = [_order(work, folder, die_at=line) for folder, line in moments.items()]
    return _in_turns(orders) == [-signal.SIGKILL] * len(orders)


def killed_after(work: Work, folder: Path, seconds: float) -> bool:
    """Do the work, and kill it from outside after a while; False if it came to its end before."""
    return _run(_order(work, folder), kill_after=seconds) == [-signal.SIGKILL]


def finished(*works: tuple[Work, Path]) -> bool:
    """Do pieces of work at the same time to their ends; whether all went well."""
    return _run(*(_order(work, folder) for work, folder in works)) == [0] * len(works)


def finished_in_all(work: Work, folders: Iterable[Path]) -> bool:
    """Do the work in each folder, to its end; whether all went well."""
    return set(_in_turns([_order(work, folder) for folder in folders])) == {0}


def _in_turns(orders: list[dict[str, Any]]) -> list[int]:
    turns = range(0, len(orders), _AT_ONCE)
    return [status for turn in turns for status in _run(*orders[turn : turn + _AT_ONCE])]


def _order(work: Work, folder: Path, **how: Any) -> dict[str, Any]:
    return {"module": work.__module__, "function": work.__name__, "folder": str(folder), **how}


def _run(*orders: dict[str, Any], kill_after: float | None = None) -> list[int]:
    """Exit statuses of the orders, all started at once."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps({"orders": orders, "kill_after": kill_after}) + "\n")
    server.stdin.flush()
    statuses: list[int] = json.loads(server.stdout.readline())
    return statuses


@lru_cache(maxsize=1)
def _server() -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from tests.unit.data.kills import serve; serve()"]
    root = Path(__file__).resolve().parents[3]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
    atexit.register(server.kill)
    return server


def serve() -> None:
    """Fork a child for each order on stdin; tell the exit statuses on stdout."""
    for line in sys.stdin:
        asked = json.loads(line)
        for order in asked["orders"]:
            importlib.import_module(order["module"])
        children = [_child(order) for order in asked["orders"]]
        if asked["kill_after"] is not None:
            time.sleep(asked["kill_after"])
            for child in children:
                os.kill(child, signal.SIGKILL)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        sys.stdout.write(json.dumps(statuses) + "\n")
        sys.stdout.flush()


def _child(order: dict[str, Any]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException), _told():
            _work(order)
            status = 0
        os._exit(status)
    return child


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except Exception:
        traceback.print_exc()
        raise


def _work(order: dict[str, Any]) -> None:
    work = getattr(sys.modules[order["module"]], order["function"])
    lines = _Lines(order.get("die_at"))
    if "die_at" in order or "count_to" in order:
        sys.settrace(lines.called)
    work(Path(order["folder"]))
    sys.settrace(None)
    if "count_to" in order:
        Path(order["count_to"]).write_text(str(lines.seen))


class _Lines:
    """Counts executed lines of the package, and kills this process at one of them."""

    def __init__(self, last: int | None) -> None:
        self.seen = 0
        self._last = last

    def called(self, frame: FrameType, event: str, _: object) -> Any:
        return self._line if frame.f_code.co_filename.startswith(_PACKAGE) else None

    def _line(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            self.seen += 1
            if self.seen == self._last:
                os.kill(os.getpid(), signal.SIGKILL)
        return self._line
