"""Record latencies of two identical prediction services that are asked the same requests at once.

`benchmarks/canary.py` resamples what is recorded here. Both services are processes of their own that
parse a request of 42 features, run an ONNX model and answer JSON. Requests leave on schedule whatever
became of the last (an open loop), so that a stall of the machine meets a run of them. In the loaded
parts two processes compute without pause beside them, on top of whatever else the machine was doing.

    python benchmarks/traces/record_latencies.py benchmarks/traces/latencies.npz
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

FEATURES = 42
TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class Part:
    """A stretch of the record: requests a second, seconds, and processes that compute beside."""

    rate: int
    seconds: int
    burners: int


PARTS = (Part(100, 60, 0), Part(10, 180, 0), Part(100, 60, 2), Part(10, 180, 2))

SERVICE = """
import msgspec, numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession("{model}", options)
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({{"type": message["type"] + ".complete"}})
            if message["type"] == "lifespan.shutdown":
                return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    rows = np.asarray(msgspec.json.decode(body)["rows"], np.float32)
    answer = msgspec.json.encode({{"probabilities": session.run(None, {{"x": rows}})[0].tolist()}})
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": answer}})
"""


def write_model(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(1).normal(size=(FEATURES, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["p"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, FEATURES])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], **where: object) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **where)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


async def ask(client: aiohttp.ClientSession, body: bytes) -> float:
    begin = time.perf_counter()
    with suppress(TimeoutError):  # the time waited is the observation
        async with client.post("/", data=body) as answer:
            answer.raise_for_status()
            await answer.read()
    return time.perf_counter() - begin


async def record(part: Part, clients: list[aiohttp.ClientSession]) -> np.ndarray:
    """Seconds, float32[requests, 2]."""
    row = ",".join(f"{value:.6f}" for value in np.random.default_rng(2).normal(size=FEATURES))
    body = f'{{"rows": [[{row}]]}}'.encode()
    start = time.perf_counter()

    async def pair(nth: int) -> list[float]:
        await asyncio.sleep(max(0.0, start + nth / part.rate - time.perf_counter()))
        order = clients if nth % 2 else clients[::-1]
        seconds = await asyncio.gather(*(ask(client, body) for client in order))
        return seconds if nth % 2 else seconds[::-1]

    pairs = [pair(nth) for nth in range(part.rate * part.seconds)]
    return np.asarray(await asyncio.gather(*pairs), np.float32)


async def record_all(urls: list[str]) -> dict[str, np.ndarray]:
    parts = {}
    async with AsyncExitStack() as stack:
        patience = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        clients = [
            await stack.enter_async_context(aiohttp.ClientSession(url, timeout=patience)) for url in urls
        ]
        for client in clients:
            await until_ready(client)
        for part in PARTS:
            with ExitStack() as beside:
                for _ in range(part.burners):
                    beside.enter_context(running([sys.executable, "-c", "while True: sum(range(100_000))"]))
                seconds = await record(part, clients)
            parts[f"rate{part.rate}_burners{part.burners}"] = seconds
            print(json.dumps(described(part, seconds)), flush=True)
    return parts


def described(part: Part, seconds: np.ndarray) -> dict[str, object]:
    milliseconds = np.quantile(seconds, (0.5, 0.99, 1.0), axis=0) * 1000
    return {
        "name": "canary.trace",
        "requests_per_second": part.rate,
        "burners": part.burners,
        "load_average": round(os.getloadavg()[0], 1),
        **dict(zip(("p50_ms", "p99_ms", "max_ms"), milliseconds.round(1).tolist(), strict=True)),
        "share_above_200_ms": np.mean(seconds > 0.2, axis=0).round(5).tolist(),
    }


async def until_ready(client: aiohttp.ClientSession) -> None:
    body = b'{"rows": [[' + b",".join([b"0.0"] * FEATURES) + b"]]}"
    for _ in range(100):
        try:
            await ask(client, body)
            return
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)
    raise SystemExit("expected the service to answer within 10 s")


def main() -> None:
    out = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder, ExitStack() as services:
        model = Path(folder) / "model.onnx"
        write_model(model)
        (Path(folder) / "service.py").write_text(SERVICE.format(model=model))
        urls = []
        for _ in range(2):
            port = free_port()
            granian = [sys.executable, "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1"]
            services.enter_context(running([*granian, "--port", str(port), "service:app"], cwd=folder))
            urls.append(f"http://127.0.0.1:{port}")
        parts = asyncio.run(record_all(urls))
    np.savez_compressed(out, **parts)


if __name__ == "__main__":
    main()
