"""Traces: nothing while off; on, a collector sees which span belongs to which."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from autotrader import tracing
from autotrader.domain.errors import NotFound
from autotrader.log import configure_logging
from autotrader.measuring import trace_operation
from tests.fakes.otlp_collector import Collected, collecting


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    monkeypatch.setattr(tracing, "EXPORT_SECONDS", 60.0)  # spans that it has not sent by then are lost
    with collecting() as collector:
        tracing.turn_on(collector.url, service="tests")
        try:
            yield collector
        finally:
            tracing.turn_off()


def test_while_off_nothing_is_recorded_and_nothing_of_opentelemetry_is_imported() -> None:
    program = (
        "import sys; from autotrader import tracing\n"
        "with tracing.span('bar', parent='00-1-2-3', account='main'): pass\n"
        "tracing.turn_on(None); tracing.flush(); assert tracing.traceparent() is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_spans_form_a_chain_with_their_parents_ids(collected: Collected) -> None:
    with tracing.span("bar", account="main", bars=3), tracing.span("ask"), tracing.span("order"):
        pass
    tracing.flush()
    bar, ask, order = (collected.one(name) for name in ("bar", "ask", "order"))
    assert bar.trace_id == ask.trace_id == order.trace_id
    assert (bar.parent_span_id, ask.parent_span_id, order.parent_span_id) == (b"", bar.span_id, ask.span_id)
    assert {a.key: a.value.string_value or a.value.int_value for a in bar.attributes} == {
        "account": "main",
        "bars": 3,
    }
    assert collected.services == {"tests"}


def test_a_traceparent_from_elsewhere_is_the_parent_and_a_wrong_one_begins_a_trace(
    collected: Collected,
) -> None:
    with tracing.span("client"):
        header = tracing.traceparent()
    with tracing.span("server", parent=header):
        pass
    for wrong in ("", "garbage", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "00-xyz-1-1", "\x00", "-" * 500):
        with tracing.span("wrong", parent=wrong):
            pass
    tracing.flush()
    client, server = collected.one("client"), collected.one("server")
    assert (server.trace_id, server.parent_span_id) == (client.trace_id, client.span_id)
    wrong_ones = collected.spans["wrong"]
    assert all(span.parent_span_id == b"" for span in wrong_ones)
    assert len({span.trace_id for span in wrong_ones}) == len(wrong_ones)


def test_tasks_of_one_dag_run_share_a_trace_without_telling_each_other(collected: Collected) -> None:
    for _ in range(2):
        with tracing.span("step", parent=tracing.traceparent_of("data_pipeline", "r1")):
            pass
    with tracing.span("other", parent=tracing.traceparent_of("data_pipeline", "r2")):
        pass
    tracing.flush()
    one, two = collected.spans["step"]
    assert one.trace_id == two.trace_id != collected.one("other").trace_id


def test_tasks_that_run_side_by_side_keep_their_own_parents(collected: Collected) -> None:
    async def order(name: str) -> None:
        with tracing.span(f"outer {name}"):
            await asyncio.sleep(0.01)
            with tracing.span(f"inner {name}"):
                await asyncio.sleep(0.01)

    async def both() -> None:
        await asyncio.gather(order("a"), order("b"))

    asyncio.run(both())
    tracing.flush()
    for name in "ab":
        assert collected.one(f"inner {name}").parent_span_id == collected.one(f"outer {name}").span_id


def test_what_was_raised_is_told_without_its_secrets(collected: Collected) -> None:
    with pytest.raises(NotFound), tracing.span("fails"):
        raise NotFound("expected https://user:hunter2@venue, token=hunter2")
    tracing.flush()
    span = collected.one("fails")
    assert span.status.code == 2
    assert "hunter2" not in str(span)
    assert "NotFound" in str(span.events)


@pytest.mark.usefixtures("logging_as_before")
def test_entries_of_the_log_name_the_trace(collected: Collected, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", form="json")
    with tracing.span("bar"):
        structlog.get_logger("autotrader.tests").info("within")
    structlog.get_logger("autotrader.tests").info("outside")
    within, outside = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    tracing.flush()
    span = collected.one("bar")
    assert (within["trace_id"], within["span_id"]) == (span.trace_id.hex(), span.span_id.hex())
    assert "trace_id" not in outside


def test_a_collector_that_is_away_costs_nobody_anything() -> None:
    tracing.turn_on("http://127.0.0.1:9", service="tests")
    try:
        for _ in range(100):
            with tracing.span("bar"):
                pass
        assert tracing.is_on()
    finally:
        tracing.turn_off()
    assert not tracing.is_on()


def test_a_decorated_operation_is_a_span(collected: Collected) -> None:
    @trace_operation("price")
    def price(x: int) -> int:
        return x + 1

    assert price(1) == 2
    tracing.flush()
    assert collected.one("price")
