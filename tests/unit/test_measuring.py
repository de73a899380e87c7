"""Decorators for users' code: they measure, and change nothing."""

from __future__ import annotations

import inspect

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from autotrader.apps.process_metrics import register_process
from autotrader.measuring import REGISTRY, count_calls, track_execution_time


@track_execution_time("tests_pricing_seconds", "One instrument priced")
@count_calls("tests_pricing_calls_total", "Instruments priced")
def price(instrument: str) -> str:
    """Price it."""
    if instrument == "bad":
        raise KeyError(instrument)
    return instrument.lower()


@count_calls("tests_fetches_total", "Fetched")
async def fetch(value: int) -> int:
    return value


def value(name: str, outcome: str) -> float:
    return REGISTRY.get_sample_value(name, {"outcome": outcome}) or 0.0


def test_calls_are_counted_and_timed_by_how_they_ended() -> None:
    before = value("tests_pricing_calls_total", "ok"), value("tests_pricing_calls_total", "error")
    assert price("BTC") == "btc"
    with pytest.raises(KeyError):
        price("bad")
    assert value("tests_pricing_calls_total", "ok") == before[0] + 1
    assert value("tests_pricing_calls_total", "error") == before[1] + 1
    assert value("tests_pricing_seconds_count", "error") >= 1


async def test_coroutine_functions_stay_what_they_are() -> None:
    assert inspect.iscoroutinefunction(fetch)
    assert await fetch(3) == 3
    assert value("tests_fetches_total", "ok") >= 1


def test_a_function_keeps_its_name_and_its_words() -> None:
    assert (price.__name__, price.__doc__) == ("price", "Price it.")


def test_two_functions_may_share_a_metric() -> None:
    @count_calls("tests_fetches_total", "Fetched")
    def another() -> None: ...

    another()
    assert value("tests_fetches_total", "ok") >= 1


def test_names_must_say_what_they_are() -> None:
    with pytest.raises(ValueError, match="ends in _seconds"):
        track_execution_time("pricing_ms", "")
    with pytest.raises(ValueError, match="ends in _total"):
        count_calls("pricing", "")


def test_what_they_measure_is_on_the_process_own_page() -> None:
    price("BTC")
    registry = CollectorRegistry()
    register_process(registry)
    page = generate_latest(registry).decode()
    assert 'tests_pricing_calls_total{outcome="ok"}' in page
    assert "process_threads" in page
