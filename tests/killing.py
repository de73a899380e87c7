"""Ends a process by SIGKILL, as the kernel would, at a chosen step of what it does to the outside.

A step is a request to a server, the arrival of its answer, or a commit to the database.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests import services

PATIENCE_SECONDS = 120
_CONTEXT = multiprocessing.get_context("forkserver")
# Imported once, not by each of the processes.
_CONTEXT.set_forkserver_preload(
    [
        "alembic.command",
        "alembic.config",
        "autotrader.adapters.clocks",
        "autotrader.adapters.mlflow_registry",
        "autotrader.db.events",
        "onnx",
        "psycopg",
        "tests.models",
        "tests.services",
    ]
)


class Steps:
    """Counts steps, and kills this process at the last of them."""

    def __init__(self, until: int | None = None) -> None:
        self.taken = 0
        self._until = until

    def step(self, *_: object) -> None:
        self.taken += 1
        if self.taken == self._until:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, engine: Engine) -> Engine:
        """The engine, whose commits are steps from now on."""
        event.listen(engine, "commit", self.step)
        return engine

    def transport(self) -> httpx.BaseTransport:
        """The network, whose requests and answers are steps."""
        return _SteppingTransport(self)


class _SteppingTransport(httpx.HTTPTransport):
    def __init__(self, steps: Steps) -> None:
        super().__init__(verify=False)
        self._steps = steps

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._steps.step()
        response = super().handle_request(request)
        self._steps.step()
        return response


def run_killed(work: Callable[..., None], *arguments: Any) -> bool:
    """Run the work in a process of its own; True if it was killed, False if it came to its end."""
    return run_at_once(1, work, *arguments) == [True]


def run_at_once(times: int, work: Callable[..., None], *arguments: Any) -> list[bool]:
    """Run the work in several processes; for each, whether it was killed."""
    others = services.sessions()
    processes = [_CONTEXT.Process(target=work, args=arguments) for _ in range(times)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=PATIENCE_SECONDS)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert set(codes) <= {0, -signal.SIGKILL}, f"expected the end or a kill, was {codes}"
    # Until PostgreSQL notices, locks of the dead are held, and what they asked for last is still done.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while services.sessions() - others:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return [code != 0 for code in codes]
