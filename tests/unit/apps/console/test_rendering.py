"""Figures as people read them, exact ones beside them."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from autotrader.adapters.console_paths import api_docs_url, web_address
from autotrader.apps.console.drawing import bar, sparkline
from autotrader.apps.console.rendering import amount, instant, lasted, measured, number, quantity


@pytest.mark.parametrize(
    ("value", "html"),
    [
        (Decimal("1234567.891"), '<data value="1234567.891">1,234,567.89</data>'),
        (Decimal("1E-9"), '<data value="0.000000001">0.00</data>'),
        (None, "–"),
    ],
)
def test_an_amount_keeps_its_exact_value(value: Decimal | None, html: str) -> None:
    assert str(amount(value)) == html


def test_a_signed_amount_says_which_way() -> None:
    assert str(amount(Decimal(5), signed=True)) == '<data class=up value="5">+5.00</data>'
    assert str(amount(Decimal(-5), signed=True)) == '<data class=down value="-5">-5.00</data>'
    assert str(amount(Decimal(0), signed=True)) == '<data value="0">0.00</data>'


@pytest.mark.parametrize(
    ("value", "shown"), [("6357.700", "6,357.7"), ("-97", "-97"), ("0.000000001", "0"), ("100", "100")]
)
def test_a_quantity_has_the_places_that_it_has(value: str, shown: str) -> None:
    assert f">{shown}<" in str(quantity(Decimal(value)))


@pytest.mark.parametrize("value", [None, math.nan, math.inf, True, "12"])
def test_what_is_no_number_is_shown_as_not_known(value: object) -> None:
    assert number(value) == measured(value) == "–"


def test_time_is_told_in_the_unit_that_fits() -> None:
    spans = [timedelta(seconds=-1), timedelta(seconds=59), timedelta(minutes=5), timedelta(hours=3.5)]
    assert [lasted(s) for s in [*spans, timedelta(days=9), None]] == [
        "0 s", "59 s", "5 min", "3.5 h", "9 days", "–",
    ]  # fmt: skip


def test_an_instant_is_told_in_utc_wherever_it_comes_from() -> None:
    at = datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert str(instant(at)) == '<time datetime="2026-02-28T23:30:00+00:00">2026-02-28 23:30 UTC</time>'
    assert str(instant(None)) == "–"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ann:pass@runs.example/b?q=1", "https://runs.example/b?q=1"),  # pragma: allowlist secret
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("javascript:alert(1)", None),
        ("https://[wiki]/page", None),
        ("sqlite:///home/mlflow.db", None),
        (None, None),
    ],
)
def test_a_browser_is_sent_to_the_web_alone_and_told_no_password(url: str | None, shown: str | None) -> None:
    assert web_address(url) == shown


@pytest.mark.parametrize(
    ("host", "tls", "shown"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:8010/docs"),
        ("api.example", True, "https://api.example:8010/docs"),
        ("::1", False, "http://[::1]:8010/docs"),
        ("0.0.0.0", True, None),  # noqa: S104 - a value of a setting
        ("::", False, None),
    ],
)
def test_the_apis_pages_are_where_it_can_be_reached(host: str, tls: bool, shown: str | None) -> None:
    assert api_docs_url(host, 8010, tls=tls) == shown


def test_a_plot_stays_within_its_frame_and_says_what_it_shows() -> None:
    svg = str(sparkline([1.0, 3.0, 2.0], 'from <1> to "3"'))
    assert "0.0,114.0 300.0,6.0 600.0,60.0" in svg
    assert "&lt;1&gt;" in svg
    assert sparkline([1.0], "one") == ""
    assert "NaN" not in str(sparkline([2.0, 2.0], "flat"))


def test_a_bar_ends_at_its_scale() -> None:
    assert 'width="100.0"' in str(bar(2.5, 1.0, [0.2], "bad"))
    assert 'width="0.0"' in str(bar(None, 1.0, [], "good"))
