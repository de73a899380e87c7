"""A real Alertmanager with our configuration, and the people it tells: a receiver on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from autotrader.config.settings import Settings
from autotrader.monitoring.rules import rules
from tests.fakes.http_server import Handler, listening
from tests.services import free_port

TOKEN = "atk-of-tests"


@dataclass
class Receiver:
    """Stands for PagerDuty, Slack and the platform: it keeps what it is sent, by path."""

    port: int = 0
    notices: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    authorizations: set[str] = field(default_factory=set)

    def sent_to(self, path: str) -> list[dict[str, Any]]:
        return [body for where, body in self.notices if where == path]


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Receiving(Handler):
        def respond(self) -> None:
            body = json.loads(self.sent())
            kept.notices.append((self.path, body))
            if authorization := self.headers.get("Authorization"):
                kept.authorizations.add(authorization)
            if "enqueue" in self.path:
                self.answer_json(202, {"status": "success"})
            else:
                self.answer(200, b"ok")

    with listening(Receiving) as url:
        kept.port = int(url.rpartition(":")[2])
        yield kept


def configured(
    folder: Path, people: Receiver, *, serving: Mapping[str, Any] | None = None, **monitoring: Any
) -> Path:
    """Our configuration for an environment in which all of them are this receiver."""
    where = f"http://127.0.0.1:{people.port}"
    settings = Settings(
        api={"port": people.port},  # type: ignore[arg-type]
        alerts={"slack_url": f"{where}/slack", "pagerduty_key": "key", "pagerduty_url": where},  # type: ignore[arg-type]
        serving=serving or {},  # type: ignore[arg-type]
        monitoring=monitoring,  # type: ignore[arg-type]
    )
    rules(settings=settings, folder=folder)
    (folder / "secrets" / "platform-token").write_text(TOKEN)
    return folder


@contextlib.contextmanager
def alertmanager(folder: Path, *, port: int | None = None) -> Iterator[str]:
    """The server, with what it was told kept below the folder; yields its URL."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        pytest.skip("needs Alertmanager: apt-get install prometheus-alertmanager")
    url = f"http://127.0.0.1:{port or free_port()}"
    arguments = [
        f"--config.file={folder}/alertmanager/alertmanager.yml",
        f"--storage.path={folder}/data-alertmanager",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--cluster.listen-address=",
    ]
    with running([program, *arguments], folder / "alertmanager.log", f"{url}/-/ready"):
        yield url


@contextlib.contextmanager
def running(
    command: list[str], log: Path, ready: str, *, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, once it answers."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    try:
        until(lambda: _answers(ready, process, log), "to answer", seconds=180)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=5)


def _answers(url: str, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()[-2000:]
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code < 500
    except httpx.TransportError:
        return False


def until(holds: Callable[[], object], what: str, *, seconds: float) -> None:
    """Wait for it, and fail in its words."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"expected {what} within {seconds:.0f} s"
        time.sleep(0.1)
