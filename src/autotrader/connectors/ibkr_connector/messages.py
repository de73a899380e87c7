"""TWS messages that history needs, and what its error codes ask the caller to do.

Codes: https://interactivebrokers.github.io/tws-api/message_codes.html
"""

from __future__ import annotations

from autotrader.domain.errors import AutotraderError, NotFound, Rejected, Throttled, Unreachable

MEDIA = "ibkr.historical_data.fields"

# Message ids, the first field of each message from the gateway.
ERROR = "4"
CONTRACT_DETAILS = "10"
HISTORICAL_DATA = "17"
CURRENT_TIME = "49"
CONTRACT_DETAILS_END = "52"

CLIENT_ID_TAKEN = 326
# The gateway lost its servers: what is under way will not be answered.
CONNECTIVITY_LOST = frozenset({1100, 1300, 2110})
# Notices about connections, of the gateway or of its data farms, good or bad.
NOTICES = frozenset({1101, 1102, *range(2100, 2200)})

_UNKNOWN_CONTRACT = 200
_HISTORY_SERVICE = 162
_TOO_FAST = frozenset({100, 420})
_UNREACHABLE = frozenset({366, 502, 504, 10_182, 10_197, *CONNECTIVITY_LOST})


def is_no_data(code: int, text: str) -> bool:
    """True for the venue's way to say that the window holds no bars."""
    return code == _HISTORY_SERVICE and "no data" in text.lower()


def error_of(code: int, text: str, subject: str, *, rest_seconds: float) -> AutotraderError:
    """The error that a message of the gateway stands for.

    Parameters
    ----------
    code, text
        As the gateway sent them.
    subject : str
        What was asked for, for the message.
    rest_seconds : float
        How long to leave the gateway alone after it was asked too often.
    """
    said = f"{subject}: expected an answer of IB, was error {code} ({text.strip()})"
    lower = text.lower()
    if code == _UNKNOWN_CONTRACT:
        return NotFound(f"{said}: check the symbol, or whether it is ambiguous at SMART in USD")
    if code in _TOO_FAST or (code == _HISTORY_SERVICE and "pacing" in lower):
        return Throttled(f"{said}: ask less often", retry_after_seconds=rest_seconds)
    if code in _UNREACHABLE or (code == _HISTORY_SERVICE and ("connect" in lower or "session" in lower)):
        return Unreachable(f"{said}: look at the gateway's own connection, then retry")
    return Rejected(f"{said}: the same request will fail again")


def join_fields(fields: list[str]) -> bytes:
    """The message's body as it was on the wire: every field ends in NUL."""
    return "".join(f"{field}\0" for field in fields).encode()


def split_fields(payload: bytes) -> list[str]:
    """The fields of a message's body.

    Raises
    ------
    ValueError
        If the body is empty, cut, or not UTF-8.
    """
    text = payload.decode()
    if not text.endswith("\0"):
        raise ValueError("the last field does not end in NUL")
    return text[:-1].split("\0")
