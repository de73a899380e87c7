"""HTTP on a free port of loopback, each request in a thread of its own: what stand-ins share."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Says nothing on the terminal; whoever is tired of waiting for an answer may go."""

    disable_nagle_algorithm = True

    def respond(self) -> None:
        """Answer a request of any method; that is in `command`."""
        raise NotImplementedError

    def do_GET(self) -> None:
        self.respond()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - as the library calls them

    def sent(self) -> bytes:
        """The body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(
        self,
        status: int,
        content: bytes = b"",
        *,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer with these bytes, of that media type; the headers given come in place of our own."""
        ours = {"Content-Length": str(len(content))} | ({"Content-Type": kind} if kind else {})
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            for name, value in {**ours, **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    def answer_json(self, status: int, content: object, *, headers: Mapping[str, str] | None = None) -> None:
        self.answer(status, json.dumps(content).encode(), kind="application/json", headers=headers)

    def log_message(self, *_: object) -> None:
        """Not on the terminal."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


@contextlib.contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server of these handlers; yields its URL."""
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
