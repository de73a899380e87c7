"""Service levels as Prometheus measured them."""

from __future__ import annotations

import math
from datetime import datetime

import httpx

from autotrader.domain.errors import Rejected, Unreachable
from autotrader.domain.service_levels import ServiceLevel, promql_duration
from autotrader.domain.thresholds import SERVICE_LEVELS

_SECONDS = 30.0  # thirty days of buckets, on a machine that has other work


class PrometheusLevels:
    """Asks a Prometheus for each level.

    Parameters
    ----------
    url : str
        Base URL.
    """

    def __init__(self, url: str) -> None:
        self._url = httpx.URL(url)
        # It may have a user and a password; a report tells what went wrong.
        self._shown = str(self._url.copy_with(userinfo=b""))

    def error_ratio(self, level: ServiceLevel, at: datetime) -> float | None:
        """As `ServiceLevelReadings`."""
        query = level.errors.replace("{window}", promql_duration(SERVICE_LEVELS.window))
        on_loopback = self._url.host in {"127.0.0.1", "::1", "localhost"}
        try:
            answer = httpx.get(
                f"{self._url}/api/v1/query",
                params={"query": query, "time": at.timestamp()},
                timeout=_SECONDS,
                trust_env=not on_loopback,
            )
        except httpx.TransportError as error:
            raise Unreachable(f"Prometheus at {self._shown} did not answer: {error}") from error
        if answer.is_server_error:
            raise Unreachable(f"expected an answer of Prometheus, was HTTP {answer.status_code}")
        if answer.is_error:
            raise Rejected(f"Prometheus refused the question for {level.name}: HTTP {answer.status_code}")
        try:
            rows = answer.json()["data"]["result"]
            value = float(rows[0]["value"][1]) if rows else math.nan  # nothing was asked in the window: 0 / 0
        except (ValueError, TypeError, LookupError) as error:
            raise Rejected(
                f"expected an answer of Prometheus at {self._shown}, was something else"
            ) from error
        return None if math.isnan(value) else value
