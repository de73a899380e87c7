"""What the venue's refusals mean to us, by its own codes rather than by the HTTP status alone.

https://developers.binance.com/docs/binance-spot-api-docs/errors (2025-01-09)
"""

from __future__ import annotations

import msgspec

from autotrader.connectors.resilience import failure_of_status
from autotrader.domain.errors import AutotraderError, NotFound, Rejected, Throttled, Unreachable

INVALID_SYMBOL, ILLEGAL_CHARACTERS = -1121, -1100
CLOCK_DIFFERS = -1021
NO_SUCH_ORDER = -2013
NEW_ORDER_REJECTED, CANCEL_REJECTED = -2010, -2011
DUPLICATE_ORDER, UNKNOWN_ORDER = "Duplicate order sent.", "Unknown order sent."

# Whoever sent an order and is told one of these does not know whether there is one.
_UNKNOWN_OUTCOMES = {
    -1000: "an unknown error",
    -1001: "an internal error",
    -1006: "an unexpected response of the bus",
    -1007: "a time-out",
    -1008: "an overload",
    -1016: "a shutdown",
}
_TOO_MANY = {-1003: "requests", -1015: "orders"}
_THROTTLED_STATUSES = {429, 418}


class Refusal(Rejected):
    """A no with the venue's code.

    Attributes
    ----------
    code : int
    said : str
        The venue's words.
    """

    def __init__(self, message: str, *, code: int, said: str) -> None:
        super().__init__(message)
        self.code, self.said = code, said


class ClockDiffers(Unreachable):
    """The venue did not take our timestamp; nothing has been done."""


class ErrorBody(msgspec.Struct):
    """The body of a refusal; code 0 where something other than the venue answered."""

    code: int = 0
    msg: str = ""


def read_error(body: bytes) -> ErrorBody:
    """What the venue said, or the beginning of what somebody else did."""
    try:
        return msgspec.json.decode(body, type=ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ErrorBody(msg=body[:80].decode(errors="replace"))


def failure_of(
    status: int, said: ErrorBody, request: str, *, symbol: str = "", retry_after: str | None = None
) -> AutotraderError:
    """The failure that an answer stands for.

    Parameters
    ----------
    status : int
        HTTP status, not a success.
    said : ErrorBody
    request : str
        What was asked, for the message; it must hold no credentials.
    symbol : str
        That was asked for, where one was.
    retry_after : str or None
        The `Retry-After` header, in seconds.

    Returns
    -------
    AutotraderError
        Throttled (429, 418, -1003, -1015), Unreachable (outcome unknown, 5xx, not the venue's own
        words), NotFound (no such symbol), `ClockDiffers`, or a `Refusal` with its code.
    """
    detail = f"{said.code} {said.msg}".strip()
    if said.code in _TOO_MANY and status not in _THROTTLED_STATUSES:
        status = 429
    failure = failure_of_status(status, request, detail=detail, retry_after=retry_after)
    if isinstance(failure, Throttled):
        return failure
    message = f"expected an answer to {request}, was HTTP {status} {detail[:200]}"
    if said.code in _UNKNOWN_OUTCOMES:
        return Unreachable(
            f"{message}: {_UNKNOWN_OUTCOMES[said.code]} at the venue, ask what has become of it"
        )
    if said.code == CLOCK_DIFFERS:
        return ClockDiffers(f"{message}: set this machine's clock")
    if said.code == INVALID_SYMBOL or (said.code == ILLEGAL_CHARACTERS and "'symbol" in said.msg):
        return NotFound(f"expected a symbol that Binance trades, was {symbol} ({detail})")
    if said.code and isinstance(failure, Rejected):
        return Refusal(message, code=said.code, said=said.msg)
    if not said.code and not isinstance(failure, Unreachable):
        return Unreachable(f"{message}: not the venue's own words, check the URL and what is in between")
    return failure
