"""Background processes that outlive the command that started them, and end without a trace.

Each runs in a session of its own. A record (process id, boot and time since then, so that a number
used again by the system is not mistaken for ours) makes it possible to find it from another command,
and a variable in its environment finds descendants that have left the session.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from autotrader.adapters.file_lock import locked
from autotrader.adapters.process_owner import seconds_from_boot, this_boot
from autotrader.domain.errors import DependencyError
from autotrader.files import write_atomically

GRACE_SECONDS = 15.0
ENDING_SECONDS = 5.0
_PAUSE_SECONDS = 0.01
MARK = "AUTOTRADER_STACK"


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run.

    Attributes
    ----------
    name : str
        Short, in kebab case; names the record and the log.
    argv : Sequence[str]
    environment : Mapping[str, str]
        Added to that of this process.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]


class ProcessTable:
    """The records and logs of one stack, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def argv(self, name: str) -> list[str] | None:
        """What was started under that name last, whether it still runs or not; None after it was stopped."""
        record = self._record(name)
        return None if record is None else record["argv"]

    def log_path(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def process(self, name: str) -> psutil.Process | None:
        """The running process of that name, if it is still the one that was started."""
        record = self._record(name)
        if record is None or record.get("boot") != this_boot():
            return None
        try:
            process = psutil.Process(record["pid"])
            same = abs(seconds_from_boot(process) - record["started"]) < 0.05
            if not same or process.status() == psutil.STATUS_ZOMBIE:
                return None
            # Without arguments it begins just now, or was killed: its memory goes first, its number last.
            deadline = time.monotonic() + ENDING_SECONDS
            while not process.cmdline():
                if time.monotonic() > deadline:
                    return None
                time.sleep(_PAUSE_SECONDS)
            return process
        except psutil.NoSuchProcess:
            return None

    def start(self, spec: ProcessSpec) -> psutil.Process:
        """Start it, or return the one that runs already; of several who ask at once, one starts it."""
        with locked(self._folder / f"{spec.name}.lock"):
            return self.process(spec.name) or self._start(spec)

    def require_running(self, name: str) -> None:
        """Raise with the end of its log if the process has died.

        Raises
        ------
        DependencyError
        """
        if self.process(name) is None:
            raise DependencyError(f"{name} ended unexpectedly; the end of its log:\n{self.tail(name)}")

    def tail(self, name: str, *, lines: int = 12) -> str:
        path = self.log_path(name)
        if not path.exists():
            return "(no log)"
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 16_384))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def stop_all(
        self, names: Sequence[str] | None = None, *, grace_seconds: float = GRACE_SECONDS
    ) -> list[str]:
        """End the processes and all their descendants; returns the names that were running.

        They are asked first (SIGTERM, to all at once) and killed after a grace period. What a
        descendant started through a table of another folder is left alone.
        """
        wanted = self.names() if names is None else list(names)
        running = {name: process for name in wanted if (process := self.process(name))}
        sessions = {process.pid for process in running.values()}
        mark = str(self._folder)
        leftovers = _family(sessions, mark, all_marked=names is None)
        for process in leftovers:
            _end(process, signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        while leftovers and time.monotonic() < deadline:
            _, alive = psutil.wait_procs(leftovers, timeout=0.2)
            leftovers = set(alive) | _family(sessions, mark, all_marked=names is None)
        for process in leftovers:
            _end(process, signal.SIGKILL)
        psutil.wait_procs(leftovers, timeout=5)
        for name in wanted:
            (self._folder / f"{name}.json").unlink(missing_ok=True)
        return sorted(running)

    def _start(self, spec: ProcessSpec) -> psutil.Process:
        with self.log_path(spec.name).open("ab") as log:
            child = subprocess.Popen(
                list(spec.argv),
                env={**os.environ, **spec.environment, MARK: str(self._folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = psutil.Process(child.pid)
        record = {
            "pid": child.pid,
            "boot": this_boot(),
            "started": seconds_from_boot(process),
            "argv": list(spec.argv),
        }
        write_atomically(self._folder / f"{spec.name}.json", json.dumps(record).encode(), durable=False)
        return process

    def _record(self, name: str) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads((self._folder / f"{name}.json").read_text())
        except FileNotFoundError:
            return None
        return record


def _family(sessions: set[int], mark: str, *, all_marked: bool) -> set[psutil.Process]:
    """All living processes of these sessions, or with this mark, and their descendants."""
    family: set[psutil.Process] = set()
    for process in psutil.process_iter():
        try:
            ours = os.getsid(process.pid) in sessions or (all_marked and _mark(process) == mark)
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                children = process.children(recursive=True)
                family |= {process, *(child for child in children if _mark(child) in (mark, None))}
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue
    return family - {psutil.Process()}


def _mark(process: psutil.Process) -> str | None:
    """The folder of the table that it was started through; None where that cannot be told."""
    try:
        return process.environ().get(MARK)
    except psutil.Error:
        return None


def _end(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
