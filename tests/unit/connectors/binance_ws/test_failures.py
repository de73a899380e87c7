"""The venue's codes, and what they mean to whoever sent an order."""

from __future__ import annotations

import pytest

from autotrader.connectors.binance_ws.failures import ClockDiffers, Refusal, failure_of, read_error
from autotrader.domain.errors import AutotraderError, NotFound, Rejected, Throttled, Unreachable


def failure(status: int, body: str, retry_after: str | None = None) -> AutotraderError:
    return failure_of(status, read_error(body.encode()), "an order", symbol="X", retry_after=retry_after)


def said(code: int, words: str = "words") -> str:
    return f'{{"code": {code}, "msg": "{words}"}}'


@pytest.mark.parametrize("code", [-1000, -1001, -1006, -1007, -1008, -1016])
@pytest.mark.parametrize("status", [400, 500, 503])
def test_an_outcome_that_the_venue_does_not_know_is_unreachable(code: int, status: int) -> None:
    assert type(failure(status, said(code))) is Unreachable


@pytest.mark.parametrize(
    ("status", "code"), [(429, -1003), (418, -1003), (400, -1003), (429, -1015), (400, -1015), (429, -1000)]
)
def test_too_many_is_throttled_whatever_the_status(status: int, code: int) -> None:
    assert isinstance(failure(status, said(code)), Throttled)


def test_a_plea_for_patience_says_for_how_long() -> None:
    throttled = failure(418, said(-1003), "7")
    assert isinstance(throttled, Throttled)
    assert throttled.retry_after_seconds == 7


@pytest.mark.parametrize("code", [-2010, -2011, -1013, -2013, -1022])
def test_a_no_keeps_its_code(code: int) -> None:
    refusal = failure(400, said(code, "Duplicate order sent."))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.said) == (code, "Duplicate order sent.")


def test_a_key_that_is_refused_is_rejected() -> None:
    assert isinstance(failure(401, said(-2015)), Rejected)


def test_another_time_is_not_a_no() -> None:
    assert isinstance(failure(400, said(-1021)), ClockDiffers)


@pytest.mark.parametrize("body", [said(-1121), said(-1100, "found in parameter 'symbol'; legal")])
def test_an_unknown_symbol_is_not_found(body: str) -> None:
    assert isinstance(failure(400, body), NotFound)


def test_an_illegal_character_elsewhere_is_a_no() -> None:
    assert isinstance(failure(400, said(-1100, "found in parameter 'quantity'; legal")), Refusal)


@pytest.mark.parametrize("status", [302, 400, 403, 404, 502, 504])
def test_what_the_venue_did_not_say_proves_nothing(status: int) -> None:
    assert type(failure(status, "<html>nginx</html>")) is Unreachable
