"""Steps of the pipelines, each in a process of its own that can be killed from outside at any moment.

A nursery is a process that has imported what steps import, has run nothing and has no second thread:
so a fork of it takes milliseconds, and inherits no lock of a thread that it does not have.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOG_FILE = "steps.log"

_ROOT = Path(__file__).resolve().parents[2]
# BLAS would start its threads on import, before the fork.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}


class StepFailed(Exception):
    """The step ended with an error of its own."""


class Nursery:
    """Starts steps, one at a time."""

    def __init__(self, folder: Path) -> None:
        self._answer = folder / "answer.json"
        command = [sys.executable, "-c", "from tests.integration.pipeline_child import serve; serve()"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # what select sees is all there is
            cwd=_ROOT,
            env={**os.environ, **_ONE_THREAD},
        )
        self._modules: set[str] = set()

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def run(
        self,
        step: str,
        key: Mapping[str, Any],
        environment: Mapping[str, str],
        *,
        kill_after: float | None = None,
    ) -> tuple[Any, float] | None:
        """The step's result and how many seconds it took; None if it was killed before it ended.

        Raises
        ------
        StepFailed
            If it raised.
        """
        self._answer.unlink(missing_ok=True)
        order = {"step": step, "key": key, "environment": environment, "answer": str(self._answer)}
        order["modules"] = sorted(self._modules)
        pid = int(self._ask(order))
        began = time.monotonic()
        assert self._process.stdout is not None
        ended, _, _ = select.select([self._process.stdout], [], [], kill_after)
        seconds = time.monotonic() - began
        if not ended:
            os.kill(pid, signal.SIGKILL)
        self._read()
        status = int(self._ask({}))  # nobody has waited for it so far: the pid was its own
        if status == -signal.SIGKILL:
            return None
        answer = json.loads(self._answer.read_text())
        if "error" in answer:
            raise StepFailed(f"{step}: {answer['error']}")
        self._modules |= set(answer["modules"])
        return answer["result"], seconds

    def _ask(self, order: Mapping[str, Any]) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery died"
        return line.decode()


def serve() -> None:
    """For each order on stdin: fork a child, tell its pid, tell that it ended, and, asked, how."""
    for line in sys.stdin:
        order = json.loads(line)
        for name in order["modules"]:
            if name not in sys.modules:
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
        assert threading.active_count() == 1, "a fork would lose a thread"
        child = os.fork()
        if child == 0:
            _work(order)
            os._exit(0)
        _tell(child)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        _tell("ended")
        sys.stdin.readline()
        _tell(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _work(order: Mapping[str, Any]) -> None:
    from autotrader.domain.errors import AutotraderError
    from autotrader.pipelines.run_step import run_step

    os.environ.update(order["environment"])
    home = Path(order["environment"]["AUTOTRADER_HOME"])
    os.chdir(home)
    with (home / LOG_FILE).open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    before = set(sys.modules)
    try:
        answer = {"result": run_step(order["step"], order["key"])}
    except AutotraderError as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    except BaseException:  # noqa: BLE001 - it is told, whatever it was
        answer = {"error": traceback.format_exc()}
    answer["modules"] = sorted(set(sys.modules) - before)
    Path(order["answer"]).write_text(json.dumps(answer))


def _tell(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()
