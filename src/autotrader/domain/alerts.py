"""How grave an alert is."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """And its route: a mail, a message, a page that repeats."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)
