"""Serve in a container what the deployment orders: another release, or nothing, without a new container."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import structlog

from autotrader import command
from autotrader.config.serving_orders import read_order
from autotrader.config.settings import Settings
from autotrader.domain.errors import BadData, DependencyError, ExitCode
from autotrader.domain.rollout import Color

LOOK_SECONDS = 0.2
PAUSE_SECONDS = 2.0  # before one that ended is begun again
END_SECONDS = 1.0  # beyond the service's own patience with requests under way
HEALTH_SECONDS = 2.0

_log = structlog.get_logger(__name__)


class Follower:
    """Runs at most one service: that of the order.

    Parameters
    ----------
    home : Path
        With the orders.
    serve : sequence of str
        What serves; told `--color`, `--port`, `--release` and `--log`.
    grace_seconds : float
        Before one that is asked to end is killed.
    """

    def __init__(
        self, home: Path, color: Color, *, port: int, serve: Sequence[str], grace_seconds: float
    ) -> None:
        self._home = home.resolve()
        self._color = color
        self._command = [*serve, "--color", color.value, "--port", str(port)]
        self._command += ["--log", str(self._home / "predictions" / color)]
        self._grace_seconds = grace_seconds
        self._release: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._not_before = 0.0
        self._fault: str | None = None

    @property
    def pid(self) -> int | None:
        """Of the service that runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def step(self) -> None:
        """Do what the order says now; of one that cannot be read, say so once and go on with the last."""
        try:
            wanted = read_order(self._home, self._color)
            self._fault = None
        except (BadData, DependencyError) as error:
            if str(error) != self._fault:
                self._fault = str(error)
                _log.error("the order cannot be read: goes on as before", reason=self._fault)
            wanted = self._release
        if wanted != self._release:
            self.end()
            self._release, self._not_before = wanted, 0.0
        if wanted is None or self.pid is not None or time.monotonic() < self._not_before:
            return
        if self._process is not None:
            _log.warning("ended unexpectedly", code=self._process.poll(), release=wanted)
        self._process = subprocess.Popen([*self._command, "--release", wanted])
        self._not_before = time.monotonic() + PAUSE_SECONDS

    def end(self) -> None:
        """Have it answer what is under way, and end."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(self._grace_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def follow(
    *, settings: Settings, color: Color, host: str = "127.0.0.1", check: bool = False
) -> command.Result:
    """Serve the release that the deployment orders for this colour, until SIGTERM.

    It needs AUTOTRADER_DEPLOYMENT__TARGET=containers where deployments are made, and the same home.

    Parameters
    ----------
    color : Color
    host : str
        Address to listen on. Beyond loopback the callers' token must be set.
    check : bool
        Say whether it is well: it serves, or is to serve nothing. For the container's health check.
    """
    port = settings.serving.blue_port if color is Color.BLUE else settings.serving.green_port
    if check:
        return _check(settings.home, color, port)
    follower = Follower(
        settings.home,
        color,
        port=port,
        serve=(sys.executable, "-m", "autotrader.apps.serving", "--host", host),
        grace_seconds=settings.serving.drain_seconds + END_SECONDS,
    )
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        while not ended.wait(LOOK_SECONDS):
            follower.step()
    finally:
        follower.end()
    return command.Result({"stopped": True}, "stopped")


def _check(home: Path, color: Color, port: int) -> command.Result:
    try:
        if read_order(home, color) is None:
            return command.Result({"healthy": True}, f"nothing is to run in {color}")
    except (BadData, DependencyError) as error:  # what was ordered before is to go on
        _log.warning("the order cannot be read", reason=str(error))
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=HEALTH_SECONDS):
            return command.Result({"healthy": True}, f"{color} is ready")
    except (urllib.error.URLError, TimeoutError) as error:
        return command.Result({"healthy": False}, f"{color} is not ready: {error}", ExitCode.FAILED)


if __name__ == "__main__":
    raise SystemExit(command.run(follow))
