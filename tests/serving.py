"""Releases to serve, requests to send, and a running prediction service."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import onnx

from tests.models import FEATURES, onnx_model

FEATURE_SET = "balanced-v1"
TOKEN = "a-token-of-tests"
TS = 1_709_251_200_000_000  # 2024-03-01


def make_release(folder: Path, *, model: bytes | None = None, **fields: str) -> Path:
    """A folder as the service expects it, with a softmax regression of three features."""
    folder.mkdir(parents=True, exist_ok=True)
    content = described(onnx_model()) if model is None else model
    (folder / "model.onnx").write_bytes(content)
    release = {
        "model": "autotrader-strategy",
        "version": "v1.2.3",
        "onnx_sha256": hashlib.sha256(content).hexdigest(),
        "feature_set": FEATURE_SET,
        **fields,
    }
    (folder / "release.json").write_text(json.dumps(release))
    return folder


def described(content: bytes, **metadata: str) -> bytes:
    """The model with the metadata that our exports have."""
    model = onnx.load_from_string(content)
    known = {"feature_set": FEATURE_SET, "feature_names": json.dumps(FEATURES), "interval": "1m"}
    onnx.helper.set_model_props(model, known | metadata)
    return bytes(model.SerializeToString())


def body(count: int = 1, /, **changes: Any) -> dict[str, Any]:
    """A request that the service answers, and what is to be different in it."""
    return {
        "request_id": "request-1",
        "instrument": "binance:BTCUSDT",
        "feature_set": FEATURE_SET,
        "ts": [TS + n * 60_000_000 for n in range(count)],
        "rows": [[0.1 * n, -0.2, 0.3] for n in range(count)],
        **changes,
    }


def packed(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The request with its rows as MessagePack has them."""
    rows = asked["rows"]
    if rows is None:
        return dict(asked)
    data = b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)
    return {**asked, "rows": {"shape": [len(rows), len(rows[0]) if rows else 0], "data": data}}


@dataclass
class Service:
    """A running service."""

    process: subprocess.Popen[str]
    url: str
    log: Path
    client: httpx.Client

    def predict(self, **changes: Any) -> httpx.Response:
        return self.client.post("/predict", json=body(**changes))


@contextlib.contextmanager
def running(
    release: Path, log: Path, *, color: str = "blue", environment: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """The service in a process of its own on a free port; killed when the block ends."""
    words = ["--color", color, "--port", "0", "--release", str(release), "--log", str(log)]
    process = subprocess.Popen(
        [sys.executable, "-m", "autotrader.apps.serving", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "AUTOTRADER_SERVING__TOKEN": TOKEN, **(environment or {})},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        url = json.loads(line)["url"]
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as client:
            yield Service(process, url, log, client)
    finally:
        process.kill()
        process.communicate()
