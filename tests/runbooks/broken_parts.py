"""Processes and servers that end or hang while a page is run, and whether they are back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import psycopg

from autotrader.adapters.processes import ProcessTable
from tests.monitoring.parts import postgres_again, stop_postgres
from tests.runbooks.stack import Stack, until
from tests.runbooks.versions import Words

# The API looks every 30 s, the exporter every 10 s.
REGISTRY = 'component_health{component="registry",service="exporter"}'
LEFT_FREE = 3


# ------------------------------------------------------------------------------------ processes


def kill(stack: Stack, *names: str) -> None:
    """As the kernel does when memory is short; whoever watches has seen it."""
    table = ProcessTable(stack.home / "processes")
    for name in names:
        process = table.process(name)
        assert process is not None, f"expected {name} to run"
        process.kill()


@contextmanager
def killed_exporter(stack: Stack) -> Iterator[None]:
    kill(stack, "exporter")
    until(lambda: _is_seen(stack, 'up{service="exporter"}', 0), "Prometheus to miss the exporter")
    yield


@contextmanager
def killed_platform(stack: Stack) -> Iterator[None]:
    """All that is watched; the controller first, which would bring the prediction services back."""
    stack.stop_trader()
    kill(stack, "controller", "api", "exporter")
    for folder in (stack.home / "deployment/processes").iterdir():
        if process := ProcessTable(folder).process("serving"):
            process.kill()
    until(lambda: _is_seen(stack, 'sum(up{service!=""})', 0), "Prometheus to miss all")
    stack.start_trader()  # whoever supervises it has done so by now
    yield


@contextmanager
def hanging_registry(stack: Stack) -> Iterator[None]:
    """MLflow takes requests and does not answer them."""
    server = ProcessTable(stack.home / "processes").process("mlflow")
    assert server is not None
    family = [server, *server.children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        until(lambda: _is_seen(stack, REGISTRY, 0), "the exporter to see that it hangs")
        yield
    finally:
        for process in family:
            process.resume()


def has_registry(stack: Stack) -> bool:
    return _is_seen(stack, REGISTRY, 1)


def answers_all(stack: Stack) -> bool:
    services = 'sum(up{service=~"api|exporter"}) + max(up{service=~"prediction-.+"})'
    return _is_seen(stack, services, 3) and bool(stack.ask("status")["colors"])


@contextmanager
def venue_away(stack: Stack) -> Iterator[None]:
    """The exchange does not answer, until somebody there starts it again."""
    kill(stack, "exchange")
    try:
        yield
    finally:
        stack.ask("restart", service="exchange")


def venue_answers(stack: Stack) -> bool:
    with suppress(httpx.TransportError):
        ping = f"{stack.ask('status')['exchange']}/api/v3/ping"
        return httpx.get(ping, timeout=2, trust_env=False).is_success
    return False


def _is_seen(stack: Stack, query: str, value: float) -> bool:
    rows = stack.watched(query)
    return bool(rows) and all(float(row["value"][1]) == value for row in rows)


# ------------------------------------------------------------------------------------- servers


@contextmanager
def postgres_down(stack: Stack) -> Iterator[None]:
    """Ended, as for an upgrade that nobody announced."""
    url = stack.environment["DATABASE"]
    server = postgres_again(stack.folder, url)
    stop_postgres(url)
    try:
        yield
    finally:
        server.start()


def postgres_answers(stack: Stack) -> bool:
    with (
        suppress(psycopg.OperationalError),
        psycopg.connect(stack.environment["DATABASE"], connect_timeout=10) as connection,
    ):
        return connection.execute("SELECT 1").fetchone() == (1,)
    return False


@contextmanager
def redis_down(stack: Stack) -> Iterator[None]:
    assert stack.redis is not None
    stack.redis.kill()
    try:
        yield
    finally:
        stack.redis.start()


def redis_answers(stack: Stack) -> bool:
    assert stack.redis is not None
    return stack.redis.answers()


@contextmanager
def connections_held(stack: Stack) -> Iterator[Words]:
    """Somebody's program leaks sessions amid their transactions; they count as old at once."""
    url = stack.environment["DATABASE"]
    held: list[psycopg.Connection[Any]] = []
    try:
        with psycopg.connect(url, autocommit=True) as own:
            (admitted,) = own.execute("SELECT current_setting('max_connections')::int").fetchone() or (0,)
            for _ in range(admitted - LEFT_FREE - 1):
                held.append(psycopg.connect(url, application_name="leaky"))
                held[-1].execute("SELECT 1")
        yield {"10 minutes": "0 minutes"}
    finally:
        for connection in held:
            with suppress(psycopg.Error):
                connection.close()


def has_connections(stack: Stack) -> bool:
    with psycopg.connect(stack.environment["DATABASE"]) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
        found = connection.execute(query).fetchone()
    return found == (0,)
