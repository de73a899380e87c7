"""Pages of metrics as people read them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from autotrader.adapters.processes import ProcessSpec, ProcessTable
from autotrader.config.settings import load_settings
from autotrader.diagnosis import pages
from autotrader.diagnosis import performance as measuring
from autotrader.diagnosis.metrics import Subject, metrics
from autotrader.diagnosis.pages import latencies, read_page
from autotrader.diagnosis.performance import performance
from autotrader.domain.errors import ExitCode
from autotrader.domain.thresholds import READINESS
from tests.fakes.http_server import Handler, listening
from tests.services import free_port


def page() -> CollectorRegistry:
    registry = CollectorRegistry()
    timed = Histogram(
        "http_request_duration_seconds", "x", ["endpoint"], buckets=(0.1, 0.2, 0.4), registry=registry
    )
    for seconds in (*[0.05] * 90, *[0.15] * 9, 3.0):
        timed.labels("/health").observe(seconds)
    Counter("http_requests_total", "x", ["status"], registry=registry).labels("200").inc(1234)
    Gauge("process_resident_memory_bytes", "x", registry=registry).set(3 * 2**20)
    Gauge("queue_length", "x", ["queue"], registry=registry).labels("default").set(7)
    return registry


@contextlib.contextmanager
def served(registry: CollectorRegistry, tokens: list[str | None] | None = None) -> Iterator[int]:
    class Page(Handler):
        def respond(self) -> None:
            if tokens is not None:
                tokens.append(self.headers["Authorization"])
            self.answer(200, generate_latest(registry))

    with listening(Page) as url:
        yield int(url.rpartition(":")[2])


@pytest.fixture(autouse=True)
def ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine is asked."""
    for name in ("SERVING__BLUE", "SERVING__GREEN", "API_", "TRADING__METRICS", "MONITORING__EXPORTER",
                 "AIRFLOW_"):  # fmt: skip
        monkeypatch.setenv(f"AUTOTRADER_{name}_PORT", str(free_port()))
    monkeypatch.setattr(pages, "READINESS", replace(READINESS, answer_seconds=60.0))


def test_percentiles_are_those_that_prometheus_gives() -> None:
    families = text_string_to_metric_families(generate_latest(page()).decode())
    (found,) = latencies(families, shares=(0.45, 0.945, 0.99, 0.999))
    assert (found.name, found.labels, found.count) == (
        "http_request_duration_seconds",
        {"endpoint": "/health"},
        100,
    )
    assert found.mean == pytest.approx((90 * 0.05 + 9 * 0.15 + 3) / 100)
    assert found.percentiles[0.45] == pytest.approx(0.05)
    assert found.percentiles[0.945] == pytest.approx(0.15)
    assert found.percentiles[0.99] == pytest.approx(0.2)
    assert found.percentiles[0.999] is None


def test_a_page_is_shown_in_units(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(page()) as port:
        monkeypatch.setenv("AUTOTRADER_API__PORT", str(port))
        result = metrics(subject=Subject.API, settings=load_settings())
    assert result.exit_code is ExitCode.DONE
    for text in ("http_requests_total{status=200}", "1,234", "3.0 MiB", "100 times", "p99 200.0 ms"):
        assert text in result.text, text


def test_of_workers_there_are_queues_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(page()) as port:
        monkeypatch.setenv("AUTOTRADER_MONITORING__EXPORTER_PORT", str(port))
        text = metrics(subject=Subject.WORKER, settings=load_settings()).text
    assert "queue_length{queue=default}" in text
    assert "http_requests" not in text


def test_where_nothing_answers_one_line_says_what_starts_it() -> None:
    result = metrics(subject=Subject.ALL, settings=load_settings())
    assert result.exit_code is ExitCode.UNREACHABLE
    assert "make quickstart" in result.text.splitlines()[-1]
    result = performance(sample_seconds=0.1, settings=load_settings())
    assert (result.exit_code, result.text) == (
        ExitCode.UNREACHABLE,
        "nothing runs here: `make quickstart` starts the platform",
    )


def test_latencies_and_queries_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = page()
    queries = Histogram("database_query_duration_seconds", "x", ["operation"], registry=registry)
    queries.labels("select").observe(0.002)
    with served(registry) as port:
        monkeypatch.setenv("AUTOTRADER_API__PORT", str(port))
        text = performance(sample_seconds=0.1, settings=load_settings()).text
    assert (
        text.index("http_request_duration_seconds") < text.index("Queries") < text.index("operation=select")
    )
    assert "did not answer" in text.partition("Tasks")[2]  # Airflow
    assert "without a page now: prediction-blue, prediction-green, trader, exporter" in text


def test_the_token_goes_to_the_api_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the port of another one anybody may listen."""
    secrets = home / "monitoring" / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "platform-token").write_text("t0ken")
    told: list[str | None] = []
    with served(page(), told) as port:
        for name in ("MONITORING__EXPORTER_PORT", "TRADING__METRICS_PORT", "SERVING__BLUE_PORT", "API__PORT"):
            monkeypatch.setenv(f"AUTOTRADER_{name}", str(port))
        for service in ("exporter", "trader", "prediction-blue", "api"):
            assert read_page(load_settings(), service).families
    assert told == [None, None, None, "Bearer t0ken"]


def test_a_child_that_ends_takes_nothing_from_what_its_parent_did(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = ProcessTable(home / "processes")
    table.start(ProcessSpec("busy", [sys.executable, "-c", "import time; time.sleep(60)"], {}))
    child = psutil.Process()
    spent = {True: iter([100.0, 0.0]), False: iter([5.0, 6.0])}  # before and after; the child is gone then
    monkeypatch.setattr(measuring, "_children", lambda _: [child])
    monkeypatch.setattr(measuring, "_cpu_seconds", lambda process: next(spent[process == child]))
    try:
        (load,) = measuring.measure_loads(load_settings(), 0.05)
        assert load.cores > 0.1
    finally:
        table.stop_all()
