"""What Prometheus and Alertmanager know of alerts at this moment, by their HTTP APIs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx

from autotrader.alerts.channels.posting import LOOPBACK
from autotrader.alerts.relayed import fingerprint_of
from autotrader.domain.errors import Rejected, Unreachable
from autotrader.domain.thresholds import ALERTING

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known:
    """What both have between them.

    Attributes
    ----------
    fingerprints : frozenset of str
        Of alerts that either has: firing, waiting to fire, silenced or inhibited.
    judged : frozenset of str
        Names of alerts whose rules are all evaluated, and were a moment ago.
    """

    fingerprints: frozenset[str]
    judged: frozenset[str]


class Witnesses:
    """Asks both.

    Parameters
    ----------
    prometheus, alertmanager : str
        Base URLs.
    timeout_seconds : float
        Patience with one answer.
    settled : timedelta
        Who has not run for so long does not know yet: Alertmanager is told again of what fires within a
        minute or two, and a rule wants to hold anew. Of rules, what was not evaluated for so long is not.
    """

    def __init__(
        self,
        prometheus: str,
        alertmanager: str,
        *,
        timeout_seconds: float,
        settled: timedelta = ALERTING.relayed_settled,
    ) -> None:
        self._prometheus, self._alertmanager = (
            httpx.Client(base_url=url, timeout=timeout_seconds, trust_env=httpx.URL(url).host not in LOOPBACK)
            for url in (prometheus, alertmanager)
        )
        self._settled = settled

    def __call__(self) -> Known | None:
        """What they know; None while one of them has just begun.

        Raises
        ------
        Unreachable
            If one of them does not answer.
        Rejected
            If an answer is not what it should be.
        """
        if self._ask("Alertmanager", self._alertmanager, "/api/v2/status", self._is_new_alertmanager):
            return None
        if self._ask("Prometheus", self._prometheus, "/api/v1/status/runtimeinfo", self._is_new_prometheus):
            return None
        held = self._ask("Alertmanager", self._alertmanager, "/api/v2/alerts", _of_alertmanager)
        rules = "/api/v1/rules?type=alert"
        active, judged = self._ask("Prometheus", self._prometheus, rules, self._of_rules)
        return Known(held | active, judged)

    def close(self) -> None:
        self._prometheus.close()
        self._alertmanager.close()

    def _is_new_alertmanager(self, body: Any, now: datetime) -> bool:
        return now - _instant(body["uptime"]) < self._settled

    def _is_new_prometheus(self, body: Any, now: datetime) -> bool:
        return now - _instant(body["data"]["startTime"]) < self._settled

    def _of_rules(self, body: Any, now: datetime) -> tuple[frozenset[str], frozenset[str]]:
        """Alerts of rules, and names of those that are judged."""
        rules = [rule for group in body["data"]["groups"] for rule in group["rules"]]
        silent = {rule["name"] for rule in rules if not self._is_judged(rule, now)}
        active = frozenset(fingerprint_of(alert["labels"]) for rule in rules for alert in rule["alerts"])
        return active, frozenset(rule["name"] for rule in rules) - silent

    def _is_judged(self, rule: Any, now: datetime) -> bool:
        # Of one that was never evaluated, Prometheus says the year 1.
        return rule["health"] == "ok" and now - _instant(rule["lastEvaluation"]) < self._settled

    def _ask(self, who: str, client: httpx.Client, path: str, read: Callable[[Any, datetime], T]) -> T:
        """What is read from the answer, and from its time: ages are those of the other side's clock."""
        try:
            answer = client.get(path)
        except httpx.HTTPError as error:
            raise Unreachable(f"{who} did not answer: {type(error).__name__}") from None
        if answer.is_server_error:
            raise Unreachable(f"expected an answer of {who}, was HTTP {answer.status_code}")
        if not answer.is_success:
            raise Rejected(f"{who} refused {path}: HTTP {answer.status_code}")
        try:
            return read(answer.json(), parsedate_to_datetime(answer.headers["date"]))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise Rejected(f"expected an answer of {who} to {path}, was something else") from error


def _of_alertmanager(body: Any, _: datetime) -> frozenset[str]:
    return frozenset(fingerprint_of(alert["labels"]) for alert in body)


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
