"""How well service levels were kept."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, runtime_checkable

from autotrader.domain.service_levels import ServiceLevel


@runtime_checkable
class ServiceLevelReadings(Protocol):
    def error_ratio(self, level: ServiceLevel, at: datetime) -> float | None:
        """Share of the 30 days before that was not good; None where nothing was measured.

        Raises
        ------
        Unreachable, Rejected
            If what measures does not answer, or not to this question.
        """
        ...
