"""IB's error codes, in terms of what the caller must do."""

from __future__ import annotations

import pytest

from autotrader.connectors.ibkr_connector.messages import error_of, is_no_data, join_fields, split_fields
from autotrader.domain.errors import NotFound, Rejected, Throttled, Unreachable

HISTORY = "Historical Market Data Service error message:"


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (162, f"{HISTORY}Historical data request pacing violation", Throttled),
        (420, "Invalid Real-time Query:Historical data request pacing violation", Throttled),
        (100, "Max rate of messages per second has been exceeded", Throttled),
        (162, f"{HISTORY}Trading TWS session is connected from a different IP address", Unreachable),
        (162, f"{HISTORY}HMDS connection attempt failed", Unreachable),
        (162, f"{HISTORY}No market data permissions for ISLAND STK", Rejected),
        (200, "No security definition has been found for the request", NotFound),
        (200, "The contract description specified for AAPL is ambiguous", NotFound),
        (321, "Error validating request: greater than 86400 seconds", Rejected),
        (354, "Requested market data is not subscribed", Rejected),
        (366, "No historical data query found for ticker id", Unreachable),
        (504, "Not connected", Unreachable),
        (1100, "Connectivity between IB and Trader Workstation has been lost.", Unreachable),
        (2110, "Connectivity between TWS and server is broken", Unreachable),
        (10197, "No market data during competing live session", Unreachable),
        (999_999, "something new", Rejected),
    ],
)
def test_a_code_becomes_the_error_that_says_what_to_do(code: int, text: str, kind: type[Exception]) -> None:
    error = error_of(code, text, "bars of AAPL", rest_seconds=15.0)
    assert type(error) is kind
    assert str(code) in str(error)
    assert "bars of AAPL" in str(error)


def test_a_pacing_violation_asks_for_the_rest_that_was_set() -> None:
    error = error_of(162, "pacing violation", "bars", rest_seconds=15.0)
    assert isinstance(error, Throttled)
    assert error.retry_after_seconds == 15.0


def test_no_data_is_recognised_by_code_and_words() -> None:
    assert is_no_data(162, f"{HISTORY}HMDS query returned no data: AAPL@SMART Trades")
    assert not is_no_data(162, f"{HISTORY}Historical data request pacing violation")
    assert not is_no_data(200, "no data")


def test_fields_survive_the_way_into_bytes_and_back() -> None:
    fields = ["17", "1", "", "größe", "0.1"]
    assert join_fields(fields) == "17\x001\x00\x00größe\x000.1\x00".encode()
    assert split_fields(join_fields(fields)) == fields


def test_a_message_that_was_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        split_fields(b"17\x001")
