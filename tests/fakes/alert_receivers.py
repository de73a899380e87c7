"""Pagers, a chat and an Alertmanager on loopback: they know what each API does, and misbehave as told."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.http_server import Handler, listening

_INCIDENTS = {"trigger": "triggered", "acknowledge": "acknowledged", "resolve": "resolved"}


@dataclass
class Fault:
    """What happens to one request.

    Attributes
    ----------
    status : int or None
        Answered in place of what is right; None cuts the connection.
    takes_on : bool
        The request is taken on nevertheless: its answer is lost, not the request.
    delay_seconds : float
        Before the answer; it comes at once when the receiver is closed.
    drip : bool
        The answer comes byte by byte, and does not end.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    takes_on: bool = False
    delay_seconds: float = 0.0
    drip: bool = False


@dataclass
class Receiver:
    """What came, and what it led to.

    Attributes
    ----------
    faults : list of Fault
        Of the next requests, one each.
    posted : list of (path, headers, body)
        Requests that were taken on.
    asked : int
        All requests.
    """

    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    posted: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    asked: int = 0

    def bodies(self) -> list[Any]:
        return [body for _, _, body in self.posted]

    def incidents(self) -> dict[str, str]:
        """PagerDuty's: state by key; triggering one that is open opens no other."""
        found: dict[str, str] = {}
        for body in self.bodies():
            found[body["dedup_key"]] = _INCIDENTS[body["event_action"]]
        return found

    def aliases(self) -> dict[str, str]:
        """Opsgenie's: state by alias."""
        found: dict[str, str] = {}
        for path, _, body in self.posted:
            if "identifierType=alias" in path:
                found[path.split("/")[3]] = "closed" if "/close" in path else "acknowledged"
            else:
                found[body["alias"]] = "open"
        return found

    def alerts(self) -> dict[str, Any]:
        """Alertmanager's: the newest word on each set of labels."""
        return {
            json.dumps(alert["labels"], sort_keys=True): alert for body in self.bodies() for alert in body
        }


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """A server on a free port."""
    inside = Receiver()
    lock, over = threading.Lock(), threading.Event()

    class Receiving(Handler):
        def respond(self) -> None:
            body = self.sent()
            with lock:
                inside.asked += 1
                fault = inside.faults.pop(0) if inside.faults else None
                if fault is None or fault.takes_on:
                    inside.posted.append((self.path, dict(self.headers), json.loads(body)))
            if fault is None:
                self.answer_json(202, {"status": "success"})
                return
            over.wait(fault.delay_seconds)
            if fault.drip:
                self._drip()
            elif fault.status is None:
                self.close_connection = True
                self.connection.close()
            else:
                self.answer(fault.status, fault.body.encode(), headers=fault.headers)

        def _drip(self) -> None:
            with contextlib.suppress(OSError):
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                while not over.wait(0.05):
                    self.wfile.write(b".")

    with listening(Receiving) as inside.url:
        try:
            yield inside
        finally:
            over.set()
