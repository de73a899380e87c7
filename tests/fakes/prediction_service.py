"""A small prediction service after the contract's letter, which can be told to misbehave."""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autotrader.domain.rollout import Color
from autotrader.ports.deployment import Release
from autotrader.registry.onnx_model import OnnxModel
from tests.fakes.http_server import Handler, listening

TOKEN = "a-callers-token"
MAX_ROWS = 1_000

Answer = tuple[int, Any]


@dataclass
class StandInService:
    """One colour.

    Attributes
    ----------
    spoil : Callable or None
        Given path, request body (None for a GET) and the honest answer; returns the one to send, or
        None to cut the connection.
    slow_seconds : float
        That every prediction takes longer.
    counts : bool
        Whether `/metrics` counts.
    """

    release: Release
    color: Color = Color.GREEN
    spoil: Callable[[str, Any, Answer], Answer | None] | None = None
    slow_seconds: float = 0.0
    counts: bool = True
    checks_token: bool = True
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._model = OnnxModel(Path(self.release.folder) / "model.onnx")
        self._answered: Counter[tuple[str, str, int]] = Counter()
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> Answer | None:
        parsed, honest = self._honest(method, path, headers, body)
        if self.counts:
            with self._lock:
                self._answered[method, path, honest[0]] += 1
        return self.spoil(path, parsed, honest) if self.spoil else honest

    def _honest(self, method: str, path: str, headers: Any, body: bytes) -> tuple[Any, Answer]:
        if (method, path) == ("GET", "/health"):
            return None, (200, self._health())
        if (method, path) == ("GET", "/metrics"):
            return None, (200, self._metrics())
        if (method, path) != ("POST", "/predict"):
            return None, (404, {"error": "no such page", "expected": "/predict", "was": path})
        if self.checks_token and headers.get("Authorization") != f"Bearer {TOKEN}":
            return None, (401, {"error": "unauthorized", "expected": "a token", "was": "none"})
        color = headers.get("X-Autotrader-Color", self.color.value)
        if color != self.color.value:
            return None, (421, {"error": "wrong color", "expected": self.color.value, "was": color})
        try:
            parsed = json.loads(body)
        except ValueError:
            return None, _refuse("JSON", "something else")
        self.asked.append(parsed)
        time.sleep(self.slow_seconds)
        return parsed, self._predict(parsed)

    def _predict(self, body: dict[str, Any]) -> Answer:
        names, release = list(self._model.feature_names), self.release
        for name, own in (("feature_set", release.feature_set), ("version", release.version)):
            if body.get(name, own) != own:
                return _refuse(own, body[name])
        given, rows = body.get("feature_names", names), body["rows"]
        if sorted(given) != sorted(names):
            return _refuse(f"the features of {release.feature_set}", "others")
        if len(rows) > MAX_ROWS:
            return 413, {"error": "too many rows", "expected": MAX_ROWS, "was": len(rows)}
        if not rows or len(body["ts"]) != len(rows):
            return _refuse("a time for each row", "another number")
        if any(len(row) != len(names) for row in rows):
            return _refuse(f"rows of {len(names)} features", "another number")
        if any(v is None or not math.isfinite(v) or abs(v) > 3.4e38 for row in rows for v in row):
            return _refuse("finite numbers", "something else")
        order = [given.index(name) for name in names]
        features = np.array(rows, np.float32)[:, order]
        return 200, {
            "request_id": body["request_id"],
            **self._identity(),
            "probabilities": self._model.probabilities(features).tolist(),
        }

    def _identity(self) -> dict[str, str]:
        release = self.release
        return {
            "model": release.model,
            "version": release.version,
            "color": self.color.value,
            "feature_set": release.feature_set,
        }

    def _health(self) -> dict[str, Any]:
        identity = {**self._identity(), "onnx_sha256": self.release.onnx_sha256}
        return {"status": "ready", "live": True, "ready": True, **identity}

    def _metrics(self) -> str:
        lines = ["# TYPE http_requests_total counter"]
        with self._lock:
            for (method, path, status), count in self._answered.items():
                labels = f'method="{method}",endpoint="{path}",status="{status}"'
                lines.append(f"http_requests_total{{{labels}}} {count}.0")
        return "\n".join([*lines, "process_resident_memory_bytes 1e+08", ""])


@contextlib.contextmanager
def served(service: StandInService) -> Iterator[str]:
    """Run it on a free port; yields its base URL."""

    class Serving(Handler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            answer = service.answer(self.command, self.path, self.headers, self.sent())
            if answer is None:
                self.close_connection = True
                return
            status, content = answer
            data = (content if isinstance(content, str) else json.dumps(content)).encode()
            head = f"HTTP/1.1 {status} -\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data)

    with listening(Serving) as url:
        yield url


def _refuse(expected: str, was: str) -> Answer:
    return 422, {"error": "wrong request", "expected": expected, "was": was}
