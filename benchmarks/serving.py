"""The prediction service against an empty answer and against MLflow's: `python benchmarks/serving.py`.

Each server is a process of its own, wrk (Debian: `apt-get install wrk`) asks with 16 connections from
the same machine, contenders take turns. One model for all: gradient boosting of 150 trees on the 42
features, calibrated and exported as training does; MLflow serves the same estimator by its sklearn
flavour. Ours checks the request, and writes the prediction log, before it answers. It is asked in both
of its forms: MessagePack (`ours`), as our own callers do, and JSON (`ours_json`). Goals: one row at
least 25,000 requests a second with p99 under 2 ms in under 150 MB; 100 rows at least 2,700.

What a shared machine takes away shows in `load_average`; `cpu_us` is what a request costs the server
in CPU time, whatever else runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec
import numpy as np
import psutil
import uvloop
from timing import emit

from autotrader.apps.serving.exchange import Answer, Exchange
from autotrader.apps.serving.http_server import HttpServer, bind
from autotrader.features.definitions import BALANCED
from autotrader.training.calibration import fit_calibration
from autotrader.training.export import export_model
from autotrader.training.models import FAMILIES

ROUNDS = 3
SECONDS = 3
CONNECTIONS = 16
MSGPACK = "application/vnd.msgpack"
TOKEN = "a-token-of-the-benchmark"  # noqa: S105
PARAMETERS = {"learning_rate": 0.1, "max_iter": 50, "max_leaf_nodes": 31, "min_samples_leaf": 100}

SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "{kind}"
wrk.headers["Accept"] = "{kind}"
wrk.headers["Authorization"] = "Bearer {token}"
wrk.headers["X-Autotrader-Color"] = "blue"
wrk.body = io.open("{body}", "rb"):read("*a")
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("\\nRESULT %.6f %d %d %d %d\\n", summary.duration / 1e6, summary.requests,
    e.connect + e.read + e.write + e.timeout + e.status, latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass
class Contender:
    """A server, what it is asked, and what was measured of it."""

    process: psutil.Process
    url: str
    script: Path
    per_second: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def measure(self, *, counts: bool) -> None:
        """One turn of wrk."""
        before = _cpu_seconds(self.process)
        words = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}", "-s", str(self.script), self.url]
        output = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        used = _cpu_seconds(self.process) - before
        found = next(line for line in output.splitlines() if line.startswith("RESULT")).split()[1:]
        seconds, requests, errors, p50, p99 = float(found[0]), *map(int, found[1:])
        assert requests > 0, f"expected answers from {self.url}, was none"
        assert errors == 0, f"{errors} of {requests} requests to {self.url} failed"
        if counts:
            self.per_second.append(requests / seconds)
            self.p50_ms.append(p50 / 1000)
            self.p99_ms.append(p99 / 1000)
            self.cpu_us.append(used / requests * 1e6)

    def memory_mb(self) -> float:
        family = [self.process, *self.process.children(recursive=True)]
        return sum(p.memory_info().rss for p in family) / 1e6


def compare(name: str, contenders: Mapping[str, Contender], goal: str) -> None:
    """Measure in turns and print; ratios are of the same round, ours over the other."""
    for turn in range(1 + ROUNDS):
        for contender in contenders.values():
            contender.measure(counts=turn > 0)
    ours = next(iter(contenders.values()))
    figures: dict[str, Callable[[Contender], float]] = {
        "requests_per_second": lambda c: round(statistics.median(c.per_second)),
        "best_requests_per_second": lambda c: round(max(c.per_second)),
        "p50_ms": lambda c: round(statistics.median(c.p50_ms), 2),
        "p99_ms": lambda c: round(statistics.median(c.p99_ms), 2),
        "best_p99_ms": lambda c: round(min(c.p99_ms), 2),
        "cpu_us": lambda c: round(statistics.median(c.cpu_us), 1),
        "memory_mb": lambda c: round(c.memory_mb()),
    }
    emit(
        {
            "name": name,
            "rounds": ROUNDS,
            "load_average": round(os.getloadavg()[0], 1),
            **{what: {label: of(c) for label, c in contenders.items()} for what, of in figures.items()},
            "ratio": {
                f"ours/{label}": round(
                    statistics.median(a / b for a, b in zip(ours.per_second, c.per_second, strict=True)), 3
                )
                for label, c in contenders.items()
                if c is not ours
            },
            "goal": goal,
        }
    )


def trained(folder: Path) -> np.ndarray:
    """Write the release, and the estimator as MLflow's model; returns rows to ask for."""
    import mlflow.sklearn

    random = np.random.default_rng(7)
    features = random.normal(size=(6_000, len(BALANCED.names))).astype(np.float32)
    signal_and_noise = features[:, 0] + 0.5 * features[:, 1] + random.normal(size=len(features))
    label = np.sign(np.round(signal_and_noise)).astype(np.int8)
    model = FAMILIES["hist_gradient_boosting"].build(PARAMETERS, 7, 1)
    model.fit(features[:5_000], label[:5_000])
    release = folder / "release"
    release.mkdir()
    files = export_model(
        model,
        fit_calibration(model.probabilities(features[5_000:]), label[5_000:]),
        release,
        feature_names=BALANCED.names,
        metadata={"feature_set": BALANCED.version, "interval": "1m"},
    )
    described = {"model": "autotrader-strategy", "version": "v1.0.0", "feature_set": BALANCED.version}
    (release / "release.json").write_text(json.dumps({**described, "onnx_sha256": files.onnx_sha256}))

    from sklearn.ensemble import HistGradientBoostingClassifier

    estimator = HistGradientBoostingClassifier(**PARAMETERS, early_stopping=False, random_state=7)
    estimator.fit(features[:5_000], label[:5_000])
    mlflow.sklearn.save_model(
        estimator,
        folder / "mlflow",
        pip_requirements=[],
        serialization_format="cloudpickle",
        pyfunc_predict_fn="predict_proba",
    )
    return features


@contextlib.contextmanager
def server(words: list[str], url: str, log: Path, **environment: str) -> Iterator[psutil.Process]:
    """Run it in a process group of its own until the block ends; it answers when we get it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **environment},
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 90
            while not _answers(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{words[1:4]} did not start:\n{log.read_text()[-2000:]}")
                time.sleep(0.1)
            yield psutil.Process(process.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


class Empty:
    """Answers nothing, at once, but after the body has arrived."""

    max_body_bytes = 1 << 20

    def admit(self, exchange: Exchange) -> Answer | None:
        return None if exchange.method == b"POST" else Answer(200, b"")

    def respond(self, _: Exchange) -> Answer:
        return Answer(200, b"{}")

    def refuse(self, status: int, *_: object, **__: str) -> Answer:
        return Answer(status, b"")

    def observe(self, *_: object) -> None:
        return


async def serve_nothing(port: int) -> None:
    """The empty handler, in our server."""
    await HttpServer(Empty(), max_concurrency=64).start(bind("127.0.0.1", port))
    await asyncio.Event().wait()


def main() -> None:
    if sys.argv[1:2] == ["--empty"]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_nothing(int(sys.argv[2])))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))  # and end the servers
    if shutil.which("wrk") is None:
        sys.exit("expected the load generator wrk, was absent: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="serving-benchmark-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        features = trained(folder)
        ports = {label: _free_port() for label in ("ours", "empty", "mlflow")}
        urls = {label: f"http://127.0.0.1:{port}" for label, port in ports.items()}
        python = sys.executable
        ours = [
            *(python, "-m", "autotrader.apps.serving", "--color", "blue", "--port", str(ports["ours"])),
            *("--release", str(folder / "release"), "--log", str(folder / "log")),
        ]
        settings = {"AUTOTRADER_SERVING__TOKEN": TOKEN, "AUTOTRADER_HOME": str(folder / "home")}
        empty = [python, __file__, "--empty", str(ports["empty"])]
        mlflow = [
            *(python, "-m", "mlflow", "models", "serve", "-m", str(folder / "mlflow")),
            *("-h", "127.0.0.1", "-p", str(ports["mlflow"]), "--env-manager", "local"),
        ]
        processes = {
            "ours": stack.enter_context(
                server(ours, f"{urls['ours']}/health", folder / "ours.txt", **settings)
            ),
            "empty": stack.enter_context(server(empty, f"{urls['empty']}/", folder / "empty.txt")),
            "mlflow": stack.enter_context(
                server(
                    mlflow, f"{urls['mlflow']}/ping", folder / "mlflow.txt", MLFLOW_DISABLE_TELEMETRY="true"
                )
            ),
        }

        def wrk(process: psutil.Process, url: str, body: bytes, kind: str = "application/json") -> Contender:
            place = Path(tempfile.mkdtemp(dir=folder))
            (place / "body").write_bytes(body)
            (place / "ask.lua").write_text(SCRIPT.format(token=TOKEN, body=place / "body", kind=kind))
            return Contender(process, url, place / "ask.lua")

        for rows, goal in (
            (1, "ours >= 25,000 requests/s, p99 < 2 ms, < 150 MB"),
            (100, "ours >= 2,700 requests/s"),
        ):
            asked = _our_body(features[:rows])
            of_json = json.dumps({**asked, "rows": _shown(features[:rows])}).encode()
            of_msgpack = msgspec.msgpack.encode({**asked, "rows": _packed(features[:rows])})
            of_mlflow = json.dumps({"inputs": _shown(features[:rows])}).encode()
            contenders = {
                "ours": wrk(processes["ours"], f"{urls['ours']}/predict", of_msgpack, MSGPACK),
                "ours_json": wrk(processes["ours"], f"{urls['ours']}/predict", of_json),
                "empty": wrk(processes["empty"], f"{urls['empty']}/", of_msgpack, MSGPACK),
                "mlflow": wrk(processes["mlflow"], f"{urls['mlflow']}/invocations", of_mlflow),
            }
            compare(f"serving.rows_{rows}", contenders, goal)


def _our_body(rows: np.ndarray) -> dict[str, object]:
    return {
        "request_id": "0123456789abcdef",
        "instrument": "binance:BTCUSDT",
        "feature_set": BALANCED.version,
        "ts": [1_709_251_200_000_000 + 60_000_000 * n for n in range(len(rows))],
    }


def _shown(rows: np.ndarray) -> list[list[float]]:
    """As a caller writes float32: the fewest digits that name it."""
    return [[float(str(value)) for value in row] for row in rows]


def _packed(rows: np.ndarray) -> dict[str, object]:
    return {"shape": rows.shape, "data": rows.astype("<f4").tobytes()}


def _cpu_seconds(process: psutil.Process) -> float:
    times = [p.cpu_times() for p in (process, *process.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
