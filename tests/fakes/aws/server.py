"""Moto behind faults that a test asks for: `python -m tests.fakes.aws --port 5001`.

`POST /_faults` with a JSON list of faults replaces those in force; `GET /_faults` tells which are left.
A fault names an action as AWS does (`UpdateService`, `ModifyListener`, `PutObject`; `*` is any), and is

- `error`: answered with this error code and `status` (400), and not carried out;
- `lost`: carried out, and the connection closed without an answer;
- `hang`: answered after `seconds`, not carried out.

`times` (1) says how often, `after` (0) how many such calls pass before.
"""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qs

from tests.fakes.aws import recovery_points, terraform_gaps

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


@dataclass
class Fault:
    action: str
    kind: str
    code: str = "InternalFailure"
    status: int = 400
    seconds: float = 30.0
    times: int = 1
    after: int = 0


class Faults:
    """Which calls go wrong; one for the server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def replace(self, faults: list[Fault]) -> None:
        with self._lock:
            self._faults = faults

    def left(self) -> list[dict[str, object]]:
        with self._lock:
            return [asdict(fault) for fault in self._faults]

    def take(self, action: str) -> Fault | None:
        """The fault of this call, if there is one; counts it."""
        with self._lock:
            for fault in self._faults:
                if fault.action not in (action, "*"):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1
                if fault.times <= 0:
                    self._faults.remove(fault)
                return fault
        return None


def action_of(environ: Environ, body: bytes) -> str:
    """What AWS calls the call: from its target header, its form, or its method and path (S3)."""
    target = str(environ.get("HTTP_X_AMZ_TARGET", ""))
    if target:
        return target.rpartition(".")[2]
    if b"Action=" in body:
        return parse_qs(body.decode(errors="replace")).get("Action", [""])[0]
    verb = {"GET": "Get", "PUT": "Put", "POST": "Post", "DELETE": "Delete", "HEAD": "Head"}
    path = str(environ.get("PATH_INFO", "")).strip("/")
    what = "Object" if "/" in path else "Bucket"
    return f"{verb.get(environ['REQUEST_METHOD'], '')}{what}"


class Faulty:
    """WSGI middleware: a call goes wrong as the test said, or on to moto."""

    def __init__(self, application: Application, faults: Faults) -> None:
        self._application = application
        self._faults = faults
        self._conditional = threading.Lock()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == "/_faults":
            return self._talk(environ, start_response)
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        environ["wsgi.input"] = io.BytesIO(body) if length else environ["wsgi.input"]
        fault = self._faults.take(action_of(environ, body))
        if fault is None and "HTTP_IF_NONE_MATCH" in environ and environ["REQUEST_METHOD"] == "PUT":
            with self._conditional:  # moto looks first and writes then
                return [b"".join(self._application(environ, start_response))]
        if fault is None:
            return self._application(environ, start_response)
        if fault.kind == "lost":
            b"".join(self._application(environ, lambda *_: None))
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)  # else it waits for the next request
            raise ConnectionAbortedError("the answer is lost, as asked for")
        if fault.kind == "hang":
            time.sleep(fault.seconds)
        start_response(f"{fault.status} as asked for", [("Content-Type", "application/x-amz-json-1.1")])
        if "HTTP_X_AMZ_TARGET" in environ:
            return [json.dumps({"__type": fault.code, "message": "as asked for"}).encode()]
        inner = f"<Code>{fault.code}</Code><Message>as asked for</Message>"
        if b"Action=" in body:
            return [f"<ErrorResponse><Error>{inner}</Error></ErrorResponse>".encode()]
        return [f"<Error>{inner}</Error>".encode()]

    def _talk(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            asked = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            self._faults.replace([Fault(**fault) for fault in asked])
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(self._faults.left()).encode()]


def serve(port: int) -> None:
    """Answer on loopback until the process is ended; prints the port, of which 0 takes a free one."""
    terraform_gaps.patch()
    recovery_points.patch()
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application: Any = Faulty(DomainDispatcherApplication(create_backend_app), Faults())
    server = make_server("127.0.0.1", port, application, threaded=True)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
