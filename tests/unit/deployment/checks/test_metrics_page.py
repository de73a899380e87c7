"""A page of metrics is read as Prometheus reads it, or not at all."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from autotrader.deployment.checks.metrics_page import parse_metrics
from autotrader.domain.errors import BadData


def test_a_page_is_read_as_prometheus_own_parser_reads_it() -> None:
    registry = CollectorRegistry()
    Counter("asked", "Said", ["who", "how"], registry=registry).labels("a}b,c", 'd\\"e').inc(3)
    Histogram("took_seconds", "Said", registry=registry).observe(0.2)
    page = generate_latest(registry).decode()
    theirs = [
        (sample.name, set(sample.labels), sample.value)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    ]
    assert [(s.name, set(s.labels), s.value) for s in parse_metrics(page)] == theirs


@pytest.mark.parametrize("page", ["", "# HELP x y\n", "hello world!", "x{a=b} 1", "x NaNa", "<html>"])
def test_what_is_no_such_page_is_bad_data(page: str) -> None:
    with pytest.raises(BadData, match="expected"):
        parse_metrics(page)
