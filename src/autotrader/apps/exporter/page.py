"""The exporter's own small server: `/metrics` for Prometheus, `/health` for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

METRICS = ("text/plain; version=0.0.4; charset=utf-8", "/metrics")
HEALTH = ("application/json", "/health")
SILENCE_SECONDS = 5.0


class PageServer(ThreadingHTTPServer):
    """Answers each request in a thread of its own, from memory.

    Parameters
    ----------
    address : tuple of str and int
    metrics : Callable
        Makes the page of metrics.
    health : Callable
        What `/health` says.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self,
        address: tuple[str, int],
        metrics: Callable[[], bytes],
        health: Callable[[], Mapping[str, object]],
    ) -> None:
        self.metrics = metrics
        self.health = health
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    timeout = SILENCE_SECONDS

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == METRICS[1]:
            self._answer(HTTPStatus.OK, METRICS[0], self.server.metrics())
        elif path == HEALTH[1]:
            said = json.dumps(self.server.health()).encode()
            self._answer(HTTPStatus.OK, HEALTH[0], said)
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"expected /metrics or /health\n")

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """A scrape every few seconds is not worth a line."""
