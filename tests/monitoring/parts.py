"""Processes that can be killed and started again at the same address, as a supervisor would."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis as redis_client
import yaml

from autotrader.access.authentication import issue
from autotrader.adapters.celery_workers import CeleryWorkers
from autotrader.db.engine import open_database
from autotrader.db.tokens import SqlTokens
from autotrader.ports.events import Event, EventType
from autotrader.ports.tokens import Scope
from tests.monitoring.alertmanager import until
from tests.services import free_port
from tests.serving import TOKEN

START_SECONDS = 180
ROOT = Path(__file__).resolve().parents[2]
_EXPORTERS = yaml.safe_load((ROOT / "docker-compose.monitoring.yml").read_text())["services"]
# The node exporter is told this wherever we begin one. Compose reads $$ as $.
UNWATCHED_MOUNTS = _EXPORTERS["node-exporter"]["command"][-1].replace("$$", "$")


@dataclass
class Part:
    """A process in a group of its own; what it says is in a log beside those of the others.

    Attributes
    ----------
    answers : Callable
        Whether it is ready.
    options : Mapping
        Of `subprocess.Popen`.
    """

    name: str
    folder: Path
    command: list[str]
    answers: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Once it answers."""
        log = self.folder / f"{self.name}.log"
        with log.open("ab") as output:
            process = self.process = subprocess.Popen(
                self.command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=surroundings(self.environment),
                **self.options,
            )

        def answers() -> bool:
            assert process.poll() is None, f"{self.name}: {log.read_text()[-2000:]}"
            return self.answers()

        until(answers, f"{self.name} to answer", seconds=START_SECONDS)

    def kill(self) -> None:
        """As the kernel does when memory is short; nothing where it does not run."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=60)
        self.process = None


def surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables of a process: ours, but for settings of the machine's own platform, and these."""
    return {k: v for k, v in os.environ.items() if not k.startswith("AUTOTRADER_")} | dict(environment)


def of_platform(
    name: str, folder: Path, port: int, environment: Mapping[str, str], *, page: str = "/metrics"
) -> Part:
    """The API or the exporter, which looks around more often than usual."""
    command = [sys.executable, "-m", "tests.monitoring.at_pace", name, "--port", str(port)]
    return Part(name, folder, command, lambda: _is_served(port, page), environment, {"cwd": ROOT})


def prediction_service(color: str, folder: Path, port: int, release: Path) -> Part:
    """A prediction service of that colour; callers have the token of `tests.serving`."""
    command = [sys.executable, "-m", "autotrader.apps.serving", "--color", color, "--port", str(port)]
    command += ["--release", str(release), "--log", str(folder / f"predictions-{color}")]
    return Part(
        f"prediction-{color}",
        folder,
        command,
        lambda: _is_served(port, "/health", ready=True),
        {"AUTOTRADER_SERVING__TOKEN": TOKEN},
    )


def trader(folder: Path, port: int) -> Part:
    """A trader in the folder's database, in a market of waves."""
    command = [sys.executable, "-m", "tests.monitoring.trader_on_waves", str(folder), str(port)]
    return Part("trader", folder, command, lambda: _is_served(port, "/metrics"), options={"cwd": ROOT})


def debian(
    program: str, folder: Path, port: int, *words: str, environment: Mapping[str, str] | None = None
) -> Part:
    """An exporter that Debian has a package of; the test skips without it."""
    found = shutil.which(program) or shutil.which(program.removeprefix("prometheus-").replace("-", "_"))
    if found is None:
        pytest.skip(f"needs {program}: apt-get install {program}")
    command = [found, f"--web.listen-address=127.0.0.1:{port}", *words]
    return Part(program, folder, command, lambda: _is_served(port, "/metrics"), environment or {})


def redis_server(folder: Path, *words: str) -> tuple[Part, str]:
    """A Redis that keeps nothing on disk, and its URL."""
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("needs Redis: apt-get install redis-server")
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    command = [found, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder), *words]

    def answers() -> bool:
        with contextlib.suppress(redis_client.ConnectionError), redis_client.Redis.from_url(url) as client:
            return bool(client.ping())
        return False

    return Part("redis", folder, command, answers), url


def celery_worker(folder: Path, broker: str) -> Part:
    """A worker as Airflow's are, with nothing to do."""
    command = [sys.executable, "-m", "celery", "-b", broker, "worker", "--concurrency", "1", "-l", "WARNING"]
    command += ["--include", "autotrader.adapters.celery_usage"]
    ask = CeleryWorkers(broker)
    return Part("worker", folder, command, lambda: bool(ask()), options={"cwd": folder})


def postgres_again(folder: Path, url: str) -> Part:
    """The cluster of `tests.services.postgres`, which runs, as one that can be ended and started again."""
    with psycopg.connect(url) as connection:
        (data,) = connection.execute("SHOW data_directory").fetchone() or ("",)
    words = Path(data, "postmaster.opts").read_text()
    account: dict[str, Any] = {"cwd": data}
    if os.getuid() == 0:
        account |= {"user": "postgres", "group": "postgres", "extra_groups": []}

    def answers() -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(url, connect_timeout=1).close()
            return True
        return False

    command = [word.strip('"') for word in words.split()]
    return Part("postgres", folder, command, answers, options=account)


def stop_postgres(url: str) -> None:
    """Its fast shutdown, which cuts all sessions, as for an upgrade that nobody announced."""
    with psycopg.connect(url) as connection:
        (data,) = connection.execute("SHOW data_directory").fetchone() or ("",)
    pid_file = Path(data, "postmaster.pid")
    os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGINT)
    until(lambda: not pid_file.exists(), "PostgreSQL to end", seconds=120)


def token_of(home: Path, scope: Scope) -> str:
    """A token of this scope for the platform of that home."""
    engine = open_database(f"sqlite:///{home}/autotrader.db")
    now = datetime.now(UTC)
    token, stored = issue("olga", [scope], (), days=1, actor="tests", now=now)
    made = Event(f"token:{stored.id}", EventType.AUDIT, "info", "made", "tests", now)
    SqlTokens(engine).add(stored, made)
    engine.dispose()
    return token


def _is_served(port: int, page: str, *, ready: bool = False) -> bool:
    try:
        status = httpx.get(f"http://127.0.0.1:{port}{page}", timeout=10, trust_env=False).status_code
    except httpx.TransportError:
        return False
    return status == 200 if ready else status < 500
