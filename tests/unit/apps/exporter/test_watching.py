"""The exporter's page over HTTP: what is known is there, what is not is absent, nothing waits."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from autotrader.adapters.clocks import SystemWallClock
from autotrader.apps.exporter.page import PageServer
from autotrader.apps.exporter.reading import MOST_SERIES, Reading
from autotrader.apps.exporter.watching import Source, Watch
from autotrader.domain.errors import Unreachable

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(page: str) -> Series:
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(page)
        for s in family.samples
    }


@contextlib.contextmanager
def exporting(*sources: Source) -> Iterator[Callable[[], Series]]:
    """A served page; what is yielded scrapes it."""
    watch = Watch(sources, SystemWallClock())
    registry = CollectorRegistry()
    registry.register(watch)
    server = PageServer(("127.0.0.1", 0), lambda: generate_latest(registry), dict)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    watch.start()

    def scrape() -> Series:
        url = f"http://127.0.0.1:{server.server_address[1]}/metrics"
        return parse(httpx.get(url, timeout=30.0, trust_env=False).text)

    try:
        yield scrape
    finally:
        watch.stop()
        server.shutdown()
        server.server_close()
        thread.join(60)


def eventually(scrape: Callable[[], Series], told: Callable[[Series], bool], seconds: float = 60.0) -> Series:
    deadline = time.monotonic() + seconds
    while not told(found := scrape()):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def up(source: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return ("exporter_source_up", (("source", source),))


def freshness(name: str) -> Callable[[Reading], None]:
    return lambda reading: reading.add("feature_freshness_seconds", 60.0, instrument=name)


def test_a_source_that_goes_away_takes_its_metrics_with_it_and_no_others() -> None:
    away = threading.Event()

    def failing(reading: Reading) -> None:
        if away.is_set():
            raise Unreachable("gone for the test")
        reading.add("deployment_active_color", 1, color="blue")

    with exporting(
        Source("failing", failing, 0.05), Source("other", freshness("binance:BTCUSDT"), 0.05)
    ) as scrape:
        colour = ("deployment_active_color", (("color", "blue"),))
        found = eventually(scrape, lambda s: s.get(up("failing")) == s.get(up("other")) == 1)
        assert found[colour] == 1
        away.set()
        found = eventually(scrape, lambda s: s[up("failing")] == 0)
        assert colour not in found
        assert found[up("other")] == 1
        last = ("exporter_source_last_success_timestamp_seconds", (("source", "failing"),))
        assert time.time() - found[last] < 120
        away.clear()
        assert eventually(scrape, lambda s: s[up("failing")] == 1)[colour] == 1


def test_a_source_that_hangs_is_away_after_its_time_and_the_page_is_answered_meanwhile() -> None:
    hanging, released = threading.Event(), threading.Event()

    def slow(reading: Reading) -> None:
        reading.add("deployment_active_color", 1, color="blue")
        if hanging.is_set():
            released.wait(120)

    with exporting(Source("slow", slow, 0.05, timeout_seconds=0.3)) as scrape:
        eventually(scrape, lambda s: s.get(up("slow")) == 1)
        hanging.set()
        found = eventually(scrape, lambda s: s[up("slow")] == 0)
        released.set()
        assert not any(name == "deployment_active_color" for name, _ in found)


def test_a_reader_that_breaks_is_away_and_is_asked_again() -> None:
    calls = []

    def broken(reading: Reading) -> None:
        calls.append(1)
        raise ZeroDivisionError

    with exporting(Source("broken", broken, 0.02)) as scrape:
        eventually(scrape, lambda s: s.get(up("broken")) == 0 and len(calls) > 2)


@pytest.mark.parametrize(
    "name",
    ['a"b', "a\\b", "a\nfake_metric 1", "a\x00b", "a\u2028b", "x" * 5_000, "\ud800", "", "}{", "é中"],
)
def test_a_hostile_label_breaks_no_page_and_makes_up_no_series(name: str) -> None:
    with exporting(Source("one", freshness(name), 0.05)) as scrape:
        found = eventually(scrape, lambda s: s.get(up("one")) == 1)
        told = [labels for metric, labels in found if metric == "feature_freshness_seconds"]
        assert len(told) == 1
        assert len(dict(told[0])["instrument"]) <= 100
        assert not any(metric == "fake_metric" for metric, _ in found)


def test_series_are_bounded_and_what_is_left_out_is_counted() -> None:
    reading = Reading()
    for number in range(MOST_SERIES + 7):
        reading.add("feature_psi", 0.1, feature=f"f{number}")
    (family,) = reading.families()
    assert len(family.samples) == MOST_SERIES
    assert reading.left_out == {"feature_psi": 7}


def test_names_that_differ_beyond_the_bound_do_not_make_the_same_series_twice() -> None:
    reading = Reading()
    for ending in "ab":
        reading.add("feature_psi", 0.1, feature="x" * 200 + ending)
    (family,) = reading.families()
    assert len(family.samples) == 1
    assert reading.left_out == {"feature_psi": 1}


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_is_not_known_is_absent_and_never_zero(value: float | None) -> None:
    reading = Reading()
    reading.add("feature_psi", value, feature="rsi_14")
    assert list(reading.families()) == []


def test_a_metric_that_the_catalogue_does_not_list_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="expected a metric of the catalogue, was made_up"):
        Reading().add("made_up", 1)
    with pytest.raises(ValueError, match="feature_psi"):
        Reading().add("feature_psi", 1, color="blue")


def test_another_path_is_not_found_and_health_is_json() -> None:
    server = PageServer(("127.0.0.1", 0), bytes, lambda: {"sources": {}})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    with httpx.Client(
        base_url=f"http://127.0.0.1:{server.server_address[1]}", trust_env=False, timeout=60
    ) as client:
        assert client.get("/other").status_code == 404
        assert client.get("/health").json() == {"sources": {}}
    server.shutdown()
    server.server_close()
    thread.join(60)
