"""Real servers for tests, each on a free loopback port; a test skips where the binary is absent."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Any credentials will do for a local AWS, and no file of the machine may be read.
AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_DEFAULT_REGION": "eu-west-1",
}

# Of an Airflow in which nothing begins but what a test asks for, whatever the time of day.
UNSCHEDULED = {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False"}

# How a server of ours is asked: to read the trusted roots takes longest.
_LOOK: dict[str, Any] = {"timeout": 1, "trust_env": False, "verify": False}

_START_SECONDS = 180  # MLflow takes fifteen where there is nothing else to do

# Bound and never listening: nobody else is given such a port, be it to listen on or to connect from.
_HELD_PORTS: deque[socket.socket] = deque(maxlen=300)


def free_port() -> int:
    """A loopback port that nothing listens on, held for whatever this process starts on it."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    port = int(holder.getsockname()[1])
    if sys.platform == "linux":
        _HELD_PORTS.append(holder)
    else:  # where two may not be bound to one port, though only one of them listens
        holder.close()
    return port


@contextlib.contextmanager
def mlflow_server(
    tmp: Path, *, artifacts: str | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """An MLflow server that serves artefacts, with its state under the folder; yields its URI.

    Artefacts lie under the folder, too, unless an `s3://` URI says otherwise.
    """
    if find_spec("mlflow") is None:
        pytest.skip("needs mlflow: install the training extra")
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", f"sqlite:///{tmp}/mlflow.db"),
        *("--artifacts-destination", artifacts or str(tmp / "artifacts")),
    ]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    within = {**quiet, **(environment or {})}

    def answers() -> bool:
        try:
            return httpx.get(f"{uri}/health", **_LOOK).is_success
        except httpx.TransportError:
            return False

    with _process(command, tmp / "mlflow.log", answers, environment=within):
        yield uri


@contextlib.contextmanager
def postgres(tmp: Path) -> Iterator[str]:
    """An empty PostgreSQL cluster; yields the URL of its database `postgres`."""
    found = [shutil.which("postgres"), *map(str, Path("/usr/lib/postgresql").glob("*/bin/postgres"))]
    binaries = [Path(name).resolve().parent for name in found if name]
    if not binaries:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    # It refuses to run as root, and its user cannot enter pytest's folders.
    account: dict[str, Any] = {}
    if os.getuid() == 0:
        account = {"user": "postgres", "group": "postgres", "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="autotrader-postgres-", ignore_cleanup_errors=True) as folder:
        if account:
            shutil.chown(folder, "postgres", "postgres")
        data = Path(folder) / "data"
        initdb = [binaries[0] / "initdb", "-D", data, "-U", "autotrader", "-A", "trust", "-E", "UTF8"]
        subprocess.run([*initdb, "--no-sync"], check=True, capture_output=True, cwd=folder, **account)
        port = free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": folder,
            "fsync": "off",
            "shared_buffers": "32MB",
        }
        command = [binaries[0] / "postgres", "-D", data, *(f"--{k}={v}" for k, v in options.items())]
        url = f"postgresql://autotrader@127.0.0.1:{port}/postgres"

        def answers() -> bool:
            import psycopg

            try:
                psycopg.connect(url, connect_timeout=1).close()
            except psycopg.OperationalError:
                return False
            return True

        # SIGINT is its fast shutdown: sessions are cut, nothing is waited for.
        with _process(command, tmp / "postgres.log", answers, stop=signal.SIGINT, cwd=folder, **account):
            yield url


@contextlib.contextmanager
def redis(tmp: Path) -> Iterator[str]:
    """A Redis that keeps nothing on disk; yields its URL."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("needs Redis: apt-get install redis-server")
    port = free_port()
    command = [binary, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(tmp)]

    def answers() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    with _process(command, tmp / "redis.log", answers):
        yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    binary = shutil.which("chromium")
    if binary is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Of shared memory a container has little, and Chromium crashes where it ends.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(
            executable_path=binary, args=arguments, timeout=_START_SECONDS * 1_000
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def local_aws(
    tmp: Path, *, program: str = "tests.fakes.aws", environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """An empty AWS on loopback (`tests/fakes/aws`); yields its URL.

    Its callers need `AWS_ENVIRONMENT`, too. What its tasks run in gets the given variables, and its URL.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", program, "--port", str(port)]
    within = {**AWS_ENVIRONMENT, "AUTOTRADER_AWS__ENDPOINT_URL": url, **(environment or {})}

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/_faults", **_LOOK).is_success
        except httpx.TransportError:
            return False

    with _process(command, tmp / "aws.log", answers, environment=within):
        yield url


def set_faults(aws_url: str, *faults: Mapping[str, object]) -> None:
    """Calls of the local AWS that go wrong from now on, in place of those asked for before."""
    httpx.post(f"{aws_url}/_faults", json=list(faults), **{**_LOOK, "timeout": 60}).raise_for_status()


def empty_database(kind: str, tmp: Path) -> str:
    """URL of a database of the kind, `sqlite` or `postgres`, without any table."""
    if kind == "sqlite":
        return f"sqlite:///{tmp}/autotrader.db"
    import psycopg

    cluster = _shared_postgres()
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(cluster, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return cluster.removesuffix("postgres") + name


def fresh_database(kind: str, tmp: Path) -> str:
    """URL of a database of the kind, `sqlite` or `postgres`, with all tables and no row.

    PostgreSQL's is one for all tests of this process, emptied: making one takes a second.
    """
    url = _migrated(kind)
    if kind == "sqlite":
        shutil.copy(url.removeprefix("sqlite:///"), tmp / "autotrader.db")
        return f"sqlite:///{tmp}/autotrader.db"
    import psycopg

    from autotrader.db.tables import METADATA

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {', '.join(METADATA.tables)} RESTART IDENTITY")  # type: ignore[arg-type]
    return url


@functools.cache
def _migrated(kind: str) -> str:
    from autotrader.db.engine import open_database

    url = empty_database(kind, _folder_of_process())
    open_database(url).dispose()
    return url


def sessions() -> set[int]:
    """Who is served by the PostgreSQL of this process's tests: a killed client is, until that is noticed."""
    if not _shared_postgres.cache_info().currsize:
        return set()
    import psycopg

    with psycopg.connect(_shared_postgres(), autocommit=True) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return {pid for (pid,) in found}


@functools.cache
def _shared_postgres() -> str:
    """One cluster for all tests of this process: making one takes seconds."""
    return _exit_stack().enter_context(postgres(_folder_of_process()))


@functools.cache
def _folder_of_process() -> Path:
    return Path(_exit_stack().enter_context(tempfile.TemporaryDirectory()))


@functools.cache
def _exit_stack() -> contextlib.ExitStack:
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack


@contextlib.contextmanager
def _process(
    command: Sequence[object],
    log: Path,
    answers: Callable[[], bool],
    *,
    stop: signal.Signals = signal.SIGTERM,
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            **options,
        )
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not answers():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
                time.sleep(0.05)
            yield
        finally:
            _end_group(process, stop)


def _end_group(process: subprocess.Popen[bytes], stop: signal.Signals) -> None:
    """End the process and all that it started, which share its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, stop)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
