"""Misbehaviour: whom it befalls, how often, and how it is told."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta

import pytest

from autotrader.apps.exchange.faults import Fault, FaultKind, Faults
from autotrader.apps.exchange.server import StandInExchange, to_json
from autotrader.domain.errors import ConfigurationError

from .conftest import MARKET_END, Get, ask

KLINES = "klines?symbol=BTCUSDT&interval=1m&limit=5"


def test_a_fault_befalls_the_next_requests_and_is_over(exchange: StandInExchange, get: Get) -> None:
    exchange.faults.add(Fault(FaultKind.SERVER_ERROR, count=2))
    assert [get(KLINES)[0] for _ in range(3)] == [500, 500, 200]


def test_a_fault_of_one_symbol_leaves_the_others_alone(exchange: StandInExchange, get: Get) -> None:
    exchange.faults.add(Fault(FaultKind.SERVER_ERROR, count=None, symbol="BTCUSDT"))
    assert get(KLINES)[0] == 500
    assert get(KLINES.replace("BTC", "ETH"))[0] == 200
    assert get("time")[0] == 200


def test_a_fault_of_a_window_befalls_its_bars_only(exchange: StandInExchange, get: Get) -> None:
    truth = get(KLINES)[1]
    exchange.faults.add(Fault(FaultKind.NEGATIVE, start=MARKET_END - timedelta(minutes=2), end=MARKET_END))
    spoilt = get(KLINES)[1]
    assert spoilt[:3] == truth[:3]
    assert all(float(row[1]) < 0 for row in spoilt[3:])


def test_a_fault_waits_for_a_page_that_it_can_spoil(exchange: StandInExchange, get: Get) -> None:
    long_ago = MARKET_END - timedelta(days=2)
    exchange.faults.add(Fault(FaultKind.GAP, start=long_ago, end=long_ago + timedelta(minutes=1)))
    get(KLINES)
    assert len(exchange.faults.due()) == 1


@pytest.mark.parametrize(
    ("kind", "opens"),
    [
        (FaultKind.DUPLICATE, [0, 1, 2, 2, 3, 4]),
        (FaultKind.OUT_OF_ORDER, [0, 2, 1, 3, 4]),
        (FaultKind.GAP, [0, 1, 3, 4]),
        (FaultKind.UNCLOSED, [0, 1, 2, 3, 4, 5]),
        (FaultKind.RESTATED, [0, 1, 2, 3, 4]),
    ],
)
def test_without_a_window_the_middle_bar_is_spoilt(
    exchange: StandInExchange, get: Get, kind: FaultKind, opens: list[int]
) -> None:
    truth = get(KLINES)[1]
    exchange.faults.add(Fault(kind))
    rows = get(KLINES)[1]
    assert [(row[0] - truth[0][0]) // 60_000 for row in rows] == opens
    assert rows != truth


def test_faults_are_given_and_cleared_over_http(exchange: StandInExchange, get: Get) -> None:
    url = f"{exchange.rest_url}/_faults"
    given = [{"kind": "html", "symbol": "BTCUSDT"}, {"kind": "slow", "count": None, "start": "2024-02-01"}]
    status, due, _ = ask(url, method="POST", body=given)
    assert status == 200
    assert [fault["kind"] for fault in due] == ["html", "slow"]
    assert due[1]["start"] == "2024-02-01T00:00:00+00:00"
    assert ask(url)[1] == due
    assert ask(url, method="DELETE")[1] == []
    assert get(KLINES)[0] == 200


def test_what_went_through_is_counted(exchange: StandInExchange, get: Get) -> None:
    exchange.faults.add(Fault(FaultKind.SERVER_ERROR))
    for path in (KLINES, KLINES, "time"):
        get(path)
    traffic = ask(f"{exchange.rest_url}/_traffic")[1]
    assert traffic["requests"] == {"klines": 2, "time": 1}
    assert traffic["statuses"] == {"500": 1, "200": 2}


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        '{"count": 1}',
        '{"kind": "earthquake"}',
        '{"kind": "html", "colour": "red"}',
        '{"kind": "html", "start": "soon"}',
        '{"kind": "html", "count": "often"}',
        '{"kind": "slow", "seconds": "long"}',
        '{"kind": "nan", "path": "time"}',
        '{"kind": "html", "path": "stream"}',
    ],
)
def test_what_is_no_fault_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        Fault.parse(text)


def test_a_wrong_fault_over_http_is_a_bad_request(exchange: StandInExchange) -> None:
    status, body, _ = ask(f"{exchange.rest_url}/_faults", method="POST", body={"kind": "earthquake"})
    assert status == 400
    assert "earthquake" in body["message"]


def test_a_fault_survives_being_written_and_read() -> None:
    fault = Fault(FaultKind.GAP, count=None, symbol="BTCUSDT", start=MARKET_END)
    assert asdict(Fault.parse(json.dumps(to_json(fault)))) == asdict(fault)


def test_what_the_caller_gave_is_not_used_up() -> None:
    fault = Fault(FaultKind.HTML)
    faults = Faults([fault])
    assert faults.answer_fault("klines", "BTCUSDT", None, None) is not None
    assert faults.answer_fault("klines", "BTCUSDT", None, None) is None
    assert fault.count == 1
