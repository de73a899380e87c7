"""A stand-in for the prediction service: the same arguments, the same HTTP, no model.

What it does is written, as JSON, where a release has its `model.onnx`; see `Behaviour`.

    python tests/fakes/deployment_server.py --color blue --port 8000 --release FOLDER --log FOLDER
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import struct
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MSGPACK = "application/vnd.msgpack"


@dataclass(frozen=True)
class Behaviour:
    """What may be wrong with it.

    Attributes
    ----------
    ready_after_seconds, delay_seconds : float
    waits_for : str or None
        A file, without which it is not ready.
    status : int
        Of every prediction.
    garbage : str or None
        Sent instead of a prediction; what is JSON goes as MessagePack to who asks for that.
    nan : bool
        Probabilities are none.
    ends_after : int or None
        Requests until the process ends without a word.
    ignores_sigterm : bool
    token : str or None
        That callers must bear.
    """

    ready_after_seconds: float = 0.0
    waits_for: str | None = None
    delay_seconds: float = 0.0
    status: int = 200
    garbage: str | None = None
    nan: bool = False
    ends_after: int | None = None
    ignores_sigterm: bool = False
    token: str | None = None


def _packed(answer: dict[str, Any]) -> bytes:
    import msgspec  # late: most of these processes are never asked

    rows = answer["probabilities"]
    data = b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)
    matrix = {"shape": [len(rows), len(rows[0])], "data": data}
    return bytes(msgspec.msgpack.encode({**answer, "probabilities": matrix}))


def _unpacked(body: bytes) -> dict[str, Any]:
    import msgspec

    request = msgspec.msgpack.decode(body)
    (_, width), data = request["rows"]["shape"], request["rows"]["data"]
    return {**request, "rows": list(struct.iter_unpack(f"<{width}f", data))}


def _garbage(text: str) -> bytes:
    import msgspec

    try:
        content = json.loads(text)
    except ValueError:
        return text.encode()
    if isinstance(content, dict) and "probabilities" in content:
        return _packed(content)
    return bytes(msgspec.msgpack.encode(content))


class Server:
    def __init__(self, color: str, release: Path) -> None:
        self._color = color
        self._release: dict[str, str] = json.loads((release / "release.json").read_text())
        self._behaviour = Behaviour(**json.loads((release / "model.onnx").read_text()))
        self._started = time.monotonic()
        self._requests = 0
        self._under_way = 0
        self.draining = asyncio.Event()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not self.draining.is_set():
                head = await reader.readuntil(b"\r\n\r\n")
                self._under_way += 1
                try:
                    await self._serve(head.decode(), reader, writer)
                finally:
                    self._under_way -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def drained(self) -> None:
        await self.draining.wait()
        while self._under_way:
            await asyncio.sleep(0.01)

    async def _serve(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = head.splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        status, content = (200, self._health()) if "/health" in first else await self._predict(headers, body)
        if "/health" in first and not content["ready"]:
            status = 503
        is_packed = isinstance(content, bytes)
        sent = content if is_packed else json.dumps(content).encode()
        kind = MSGPACK if is_packed else "application/json"
        retry = "Retry-After: 1\r\n" if status == 503 else ""
        answer = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{retry}Content-Length: {len(sent)}"
        writer.write(f"{answer}\r\n\r\n".encode() + sent)
        await writer.drain()

    async def _predict(self, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        behaviour = self._behaviour
        self._requests += 1
        if behaviour.ends_after is not None and self._requests > behaviour.ends_after:
            os._exit(1)
        if behaviour.delay_seconds:
            await asyncio.sleep(behaviour.delay_seconds)
        if behaviour.token is not None and headers.get("authorization") != f"Bearer {behaviour.token}":
            return 401, {"error": "unauthorised"}
        if headers.get("x-autotrader-color", self._color) != self._color:
            return 421, {"error": "wrong colour", "expected": self._color}
        if behaviour.status != 200:
            return behaviour.status, {"error": "expected a prediction, was a fault"}
        if behaviour.garbage is not None:
            return 200, _garbage(behaviour.garbage)
        is_packed = headers.get("content-type") == MSGPACK
        request = _unpacked(body) if is_packed else json.loads(body)
        falls = [min(0.6, abs(row[0]) % 0.6) for row in request["rows"]]
        found = [(float("nan") if behaviour.nan else p, 0.25, 0.75 - p) for p in falls]
        answer = {
            "request_id": request["request_id"],
            "model": self._release["model"],
            "version": self._release["version"],
            "color": self._color,
            "feature_set": self._release["feature_set"],
            "probabilities": found,
        }
        return 200, _packed(answer) if headers.get("accept") == MSGPACK else answer

    def _health(self) -> dict[str, Any]:
        uptime, behaviour = time.monotonic() - self._started, self._behaviour
        ready = uptime >= behaviour.ready_after_seconds and not self.draining.is_set()
        ready = ready and (behaviour.waits_for is None or Path(behaviour.waits_for).exists())
        return {
            "status": "ready" if ready else "starting",
            "live": True,
            "ready": ready,
            "color": self._color,
            "uptime_seconds": uptime,
            "under_way": self._under_way,
            "memory_bytes": 100_000_000,
            **self._release,
        }

    def ask_to_end(self) -> None:
        if not self._behaviour.ignores_sigterm:
            self.draining.set()


@contextlib.asynccontextmanager
async def serve(color: str, folder: Path, version: str = "v1.0.0", **behaviour: Any) -> AsyncIterator[str]:
    """The server within this event loop, on a free port; yields its URL."""
    write_release(folder, version, **behaviour)
    server = Server(color, folder)
    listening = await asyncio.start_server(server.connect, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        server.draining.set()
        listening.close()


def write_release(folder: Path, version: str = "v1.0.0", **behaviour: Any) -> None:
    """A folder that this server takes for a release."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "model": "strategy",
        "version": version,
        "onnx_sha256": "ab" * 32,
        "feature_set": "balanced-v1",
    }
    (folder / "release.json").write_text(json.dumps(described))
    (folder / "model.onnx").write_text(json.dumps(behaviour))


async def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--color", "--port", "--release", "--log"):
        parser.add_argument(name, required=True)
    given = parser.parse_args()
    server = Server(given.color, Path(given.release))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.ask_to_end)
    listening = await asyncio.start_server(server.connect, "127.0.0.1", int(given.port))
    await server.drained()
    listening.close()


if __name__ == "__main__":
    # Started without `site`, which would take longer than all the rest; of it we need one folder.
    library = f"python{sys.version_info.major}.{sys.version_info.minor}"
    sys.path.append(str(Path(sys.executable).parent.parent / "lib" / library / "site-packages"))
    asyncio.run(main())
