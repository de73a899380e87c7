"""The colours as background processes of this machine."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

import httpx
import psutil

from autotrader.adapters.file_lock import locked
from autotrader.adapters.local_ports import choose_port
from autotrader.adapters.processes import ProcessSpec, ProcessTable
from autotrader.config.settings import PREFIX, ServingSettings, Settings
from autotrader.domain.rollout import Color
from autotrader.ports.deployment import Release, SlotHealth

SERVE = (sys.executable, "-m", "autotrader.apps.serving")
PROCESS = "serving"
HEALTH_SECONDS = 2.0
# Beyond the service's own patience with requests under way: for it to end by itself.
END_SECONDS = 1.0


class LocalTarget:
    """Runs a prediction service a colour; any process of this home may call.

    What runs is read from the process table, never remembered: whoever started it may be gone.

    Parameters
    ----------
    settings : Settings
    command : sequence of str
        What serves; told `--color`, `--port`, `--release` and `--log`.
    """

    def __init__(self, settings: Settings, *, command: Sequence[str] = SERVE) -> None:
        self._home = settings.home.resolve()
        self._folder = self._home / "deployment"
        self._serving = settings.serving
        self._command = tuple(command)
        # One a colour: what was started in it is found by the table's mark even where whoever
        # started it died before it was written down.
        self._tables = {color: ProcessTable(self._folder / "processes" / color) for color in Color}
        self._client = httpx.Client(timeout=HEALTH_SECONDS, trust_env=False, verify=False)  # noqa: S501 - loopback

    def start(self, color: Color, release: Release) -> str:
        with self._locked(color):
            table = self._tables[color]
            argv = table.argv(PROCESS)
            if argv and table.process(PROCESS) and _argument(argv, "--release") == release.folder:
                return _endpoint(_argument(argv, "--port"))
            table.stop_all(grace_seconds=self._grace_seconds)
            port = str(self._choose_port(color))
            argv = [*self._command, "--color", color.value, "--port", port]
            argv += ["--release", release.folder, "--log", str(self._home / "predictions" / color)]
            table.start(ProcessSpec(PROCESS, argv, {f"{PREFIX}HOME": str(self._home)}))
            return _endpoint(port)

    def health(self, color: Color) -> SlotHealth:
        table = self._tables[color]
        argv, process = table.argv(PROCESS), table.process(PROCESS)
        if argv is None:
            return _silent(f"nothing runs in {color}")
        if process is None:
            return _silent(f"{color} ended unexpectedly; the end of its log:\n{table.tail(PROCESS)}")
        memory = _memory_bytes(process)
        url = f"{_endpoint(_argument(argv, '--port'))}/health"
        try:
            answer = self._client.get(url)
            said = answer.json()
            answered_by, version = said["color"], said["version"]
            live, ready = bool(said["live"]), answer.is_success and bool(said["ready"])
            reason = str(said["status"])
        except httpx.TransportError as error:
            return _silent(f"{url} did not answer within {HEALTH_SECONDS:g} s ({error})", memory)
        except (ValueError, KeyError, TypeError):
            return _silent(f"{url} did not answer as a prediction service: {answer.text[:200]}", memory)
        if answered_by != color:
            return _silent(f"expected {color} at {url}, was {answered_by}", memory)
        return SlotHealth(live=live, ready=ready, version=version, reason=reason, memory_bytes=memory)

    def stop(self, color: Color) -> None:
        with self._locked(color):
            self._tables[color].stop_all(grace_seconds=self._grace_seconds)

    @property
    def _grace_seconds(self) -> float:
        return self._serving.drain_seconds + END_SECONDS

    def _locked(self, color: Color) -> contextlib.AbstractContextManager[None]:
        return locked(self._folder / f"{color}.lock")

    def _choose_port(self, color: Color) -> int:
        name = f"{color}_port"
        wanted, default = getattr(self._serving, name), getattr(ServingSettings(), name)
        return choose_port(
            self._tables[color],
            PROCESS,
            variable=f"{PREFIX}SERVING__{name.upper()}",
            wanted=wanted,
            default=default,
            before=wanted,
        )


def _argument(argv: Sequence[str], name: str) -> str:
    return argv[argv.index(name) + 1]


def _endpoint(port: str) -> str:
    return f"http://127.0.0.1:{port}"


def _silent(reason: str, memory_bytes: int | None = None) -> SlotHealth:
    return SlotHealth(live=False, ready=False, version=None, reason=reason, memory_bytes=memory_bytes)


def _memory_bytes(process: psutil.Process) -> int | None:
    """Resident memory of the process and its workers."""
    try:
        return sum(p.memory_info().rss for p in (process, *process.children(recursive=True)))
    except psutil.NoSuchProcess:
        return None
