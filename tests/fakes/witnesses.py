"""Prometheus and Alertmanager on one loopback port: what they know, and since when they run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from tests.fakes.http_server import Handler, listening

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Statement:
    """What both answer.

    Attributes
    ----------
    now : datetime
        Of the other side's clock.
    held, active : list of labels
        Alerts that Alertmanager has, and rules of Prometheus.
    rules : dict
        Health of each rule by name.
    answers : dict
        Status by the beginning of a path, in place of what is right.
    asked : list of str
        Paths.
    """

    url: str = ""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    alertmanager_began: datetime = LONG_AGO
    prometheus_began: datetime = LONG_AGO
    evaluated_before: timedelta = timedelta(seconds=10)
    held: list[dict[str, str]] = field(default_factory=list)
    active: list[dict[str, str]] = field(default_factory=list)
    rules: dict[str, str] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def body(self, path: str) -> Any:
        match path:
            case "/api/v2/status":
                return {"uptime": self.alertmanager_began.isoformat()}
            case "/api/v2/alerts":
                return [{"labels": labels} for labels in self.held]
            case "/api/v1/status/runtimeinfo":
                return {"data": {"startTime": self.prometheus_began.isoformat()}}
            case "/api/v1/rules?type=alert":
                return {"data": {"groups": [{"rules": [self._rule(name) for name in self.rules]}]}}
        return None

    def _rule(self, name: str) -> dict[str, Any]:
        evaluated = self.now - self.evaluated_before
        return {
            "name": name,
            "health": self.rules[name],
            "lastEvaluation": evaluated.isoformat(),
            "alerts": [{"labels": labels} for labels in self.active if labels["alertname"] == name],
        }


@contextlib.contextmanager
def statement() -> Iterator[Statement]:
    """A server on a free port."""
    inside = Statement()

    class Stating(Handler):
        def respond(self) -> None:
            inside.asked.append(self.path)
            status = next((s for path, s in inside.answers.items() if self.path.startswith(path)), 200)
            body = json.dumps(inside.body(self.path)).encode() if status == 200 else b"no"
            self.answer(status, body)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(inside.now, usegmt=True)

    with listening(Stating) as inside.url:
        yield inside
