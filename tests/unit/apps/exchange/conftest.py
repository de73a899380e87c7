"""A simulated market, and the stand-in exchange that serves it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from autotrader.apps.exchange.server import StandInExchange, running
from autotrader.apps.exchange.simulated import SimulatedMarket

MARKET_END = datetime(2024, 3, 1, tzinfo=UTC)

Get = Callable[..., tuple[int, Any, dict[str, str]]]


@pytest.fixture(scope="session")
def market() -> SimulatedMarket:
    return SimulatedMarket(("BTCUSDT", "ETHUSDT"), seed=11, end=MARKET_END, days=4)


@pytest.fixture
def exchange(market: SimulatedMarket) -> Iterator[StandInExchange]:
    with running(StandInExchange(market)) as exchange:
        yield exchange


def ask(url: str, *, method: str = "GET", body: object = None) -> tuple[int, Any, dict[str, str]]:
    """Status, decoded body and headers (names in lower case) of one HTTP request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)  # noqa: S310
    try:
        answer = urllib.request.urlopen(request, timeout=60)  # noqa: S310
    except urllib.error.HTTPError as refused:
        answer = refused
    with answer:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status, json.loads(answer.read()), headers


@pytest.fixture
def get(exchange: StandInExchange) -> Get:
    def get(path: str) -> tuple[int, Any, dict[str, str]]:
        return ask(f"{exchange.rest_url}/api/v3/{path}")

    return get
