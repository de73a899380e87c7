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
from autotrader.adapters.slot_health import HEALTH_SECONDS, ask_health, silent
from autotrader.config.settings import PREFIX, ServingSettings, Settings
from autotrader.domain.errors import Unreachable
from autotrader.domain.rollout import Color
from autotrader.monitoring.colour_ports import of_home, tell_port
from autotrader.ports.deployment import Release, SlotHealth

SERVE = (sys.executable, "-m", "autotrader.apps.serving")
PROCESS = "serving"
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
                return self._told(color, _argument(argv, "--port"))
            table.stop_all(grace_seconds=self._grace_seconds)
            port = str(self._choose_port(color))
            endpoint = self._told(color, port)
            argv = [*self._command, "--color", color.value, "--port", port]
            argv += ["--release", release.folder, "--log", str(self._home / "predictions" / color)]
            table.start(ProcessSpec(PROCESS, argv, {f"{PREFIX}HOME": str(self._home)}))
            return endpoint

    def health(self, color: Color) -> SlotHealth:
        table = self._tables[color]
        argv, process = table.argv(PROCESS), table.process(PROCESS)
        if argv is None:
            return silent(f"nothing runs in {color}")
        if process is None:
            return silent(f"{color} ended unexpectedly; the end of its log:\n{table.tail(PROCESS)}")
        memory = _memory_bytes(process)
        try:
            endpoint = _endpoint(_argument(argv, "--port"))
            return ask_health(self._client, endpoint, color, memory_bytes=memory)
        except Unreachable as error:
            return silent(str(error), memory)

    def stop(self, color: Color) -> None:
        with self._locked(color):
            self._tables[color].stop_all(grace_seconds=self._grace_seconds)

    def sends_elsewhere(self, color: Color) -> str | None:  # noqa: ARG002 - of the port
        return None  # a colour's port is its name

    def point(self, color: Color) -> None:
        """Nothing to do: nobody asks without naming a colour."""

    @property
    def _grace_seconds(self) -> float:
        return self._serving.drain_seconds + END_SECONDS

    def _locked(self, color: Color) -> contextlib.AbstractContextManager[None]:
        return locked(self._folder / f"{color}.lock")

    def _told(self, color: Color, port: str) -> str:
        """The endpoint, of which Prometheus is told, too."""
        tell_port(of_home(self._home), color, int(port))
        return _endpoint(port)

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
            promised=self._ports(color.other),
        )

    def _ports(self, color: Color) -> set[int]:
        """The port that a colour was given, whether or not it listens there by now."""
        table = self._tables[color]
        argv = table.argv(PROCESS)
        return {int(_argument(argv, "--port"))} if argv and table.process(PROCESS) else set()


def _argument(argv: Sequence[str], name: str) -> str:
    return argv[argv.index(name) + 1]


def _endpoint(port: str) -> str:
    return f"http://127.0.0.1:{port}"


def _memory_bytes(process: psutil.Process) -> int | None:
    """Resident memory of the service, which is one process: to look for children is to look at all others."""
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return None
