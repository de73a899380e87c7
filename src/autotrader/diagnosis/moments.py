"""How far back somebody wants to look."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from autotrader.domain.bars import parse_utc
from autotrader.domain.errors import ConfigurationError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def since_when(text: str, now: datetime) -> datetime:
    """`15m`, `2h`, `7d` before now, or an instant of UTC.

    Raises
    ------
    ConfigurationError
        If it is neither.
    """
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found:
        return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        return parse_utc(text)
    except ValueError as error:
        raise ConfigurationError(f"expected a time such as 30s, 15m, 2h, 7d or UTC, was {text!r}") from error
