"""What watching costs: a labelled counter, a log entry, a span, and all of it in service and trader.

    python benchmarks/instrumentation.py

Parts take turns with the bare library in one process. The whole is processor time of the same work with
everything on (tracing to a collector on loopback, logs at INFO) and with what can be off, off: of a
prediction service that answers requests one after another, and of a trader that goes through six hours of
ten instruments. Shares are of one core: at full load, and at the load of the contract's replay driver
(10 requests a second) or of a live trader (a bar a minute). Goals: counter 2 us, entry 10 us, span 20 us;
under 1 % of a core and 50 MB at these loads.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import psutil
import structlog
from prometheus_client import CollectorRegistry, Counter
from timing import emit

from autotrader import log, tracing
from autotrader.apps.api.metrics import ApiMetrics
from autotrader.measuring import count_calls

CALLS = 1_500  # spans beyond 2,048 that wait would be thrown away, which is cheaper
ROUNDS = 9
REQUESTS = 2_000
REQUESTS_A_SECOND = 10  # that the replay driver sends, contract
BARS_A_SECOND = 1 / 60
TOKEN = "a-token-of-the-benchmark"  # noqa: S105


def per_call(
    contenders: Mapping[str, Callable[[], object]], settle: Callable[[], object] = gc.collect
) -> dict[str, float]:
    """Microseconds of this thread's processor time of each: the median of rounds in which they take turns.

    On the clock it would be the machine's other work that is measured.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(1 + ROUNDS):
        for name, call in contenders.items():
            settle()
            begin = time.thread_time()
            for _ in range(CALLS):
                call()
            if turn:
                taken[name].append((time.thread_time() - begin) / CALLS * 1e6)
    return {name: round(statistics.median(seconds), 2) for name, seconds in taken.items()}


def told(name: str, us: dict[str, float], goal_us: float) -> None:
    ours, bare = us["ours"], us["library"]
    load = round(os.getloadavg()[0], 1)
    emit({"name": name, "load_average": load, "us": us, "ratio": round(ours / bare, 2), "goal_us": goal_us})


def counter() -> None:
    registry = CollectorRegistry()
    bare = Counter("bare", "With labels()", ["method", "endpoint", "status"], registry=registry)
    api = ApiMetrics()
    decorated = count_calls("benchmark_calls_total", "Calls")(lambda: None)
    us = per_call(
        {
            "ours": lambda: api._requests.labels("GET", "/health", "200").inc(),
            "library": lambda: bare.labels("GET", "/health", "200").inc(),
            "request_counted_and_timed": lambda: api.observe("GET", "/health", 200, 0.01),
            "decorated_call": decorated,
        }
    )
    told("instrumentation.counter", us, 2.0)


def entry() -> None:
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        log.configure_logging(level="INFO", form="json")
        ours = structlog.get_logger("autotrader.benchmark")
        bare = structlog.wrap_logger(
            structlog.PrintLogger(nowhere),
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(20),
        ).bind()
        with structlog.contextvars.bound_contextvars(request_id="0123456789abcdef"):
            us = per_call(
                {
                    "ours": lambda: ours.info("bars stored", rows=1440, venue="binance", share=0.5),
                    "library": lambda: bare.info("bars stored", rows=1440, venue="binance", share=0.5),
                }
            )
    told("instrumentation.log_entry", us, 10.0)


def spans(url: str) -> None:
    def ours() -> None:
        with tracing.span("bar", account="main", ts="2024-03-01T00:00:00+00:00"):
            pass

    off = per_call({"off": ours})["off"]
    tracing.turn_on(url, service="benchmark")
    recorder = tracing._recorder
    assert recorder is not None
    tracer = recorder.tracer

    def library() -> None:
        attributes = {"account": "main", "ts": "2024-03-01T00:00:00+00:00"}
        with tracer.start_as_current_span("bar", attributes=attributes):
            pass

    us = per_call({"ours": ours, "library": library}, tracing.flush)
    tracing.turn_off()
    told("instrumentation.span", {**us, "off": off}, 20.0)


# ------------------------------------------------------------------------------------- the whole


@contextlib.contextmanager
def collector() -> Iterator[str]:
    """Takes spans and throws them away."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def service(folder: Path, url: str) -> None:
    """Processor time of a request in the service, and its memory, with tracing off and on."""
    import httpx
    from switching import make_releases

    from autotrader.domain.rollout import Color
    from autotrader.features.definitions import BALANCED

    release = make_releases(folder)[Color.BLUE].folder
    row = np.random.default_rng(1).normal(size=(1, len(BALANCED.names))).astype(np.float32).tolist()
    body = {
        "request_id": "0123456789abcdef",
        "instrument": "binance:BTCUSDT",
        "feature_set": BALANCED.version,
        "ts": [1_709_251_200_000_000],
        "rows": row,
    }
    used: dict[str, list[float]] = {"off": [], "on": []}
    memory: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        asked = {}
        for name, endpoint in (("off", ""), ("on", url)):
            environment = {"AUTOTRADER_SERVING__TOKEN": TOKEN, "AUTOTRADER_TRACING__ENDPOINT": endpoint}
            words = ["--color", "blue", "--port", "0", "--release", release, "--log", str(folder / name)]
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "autotrader.apps.serving", *words],
                    env={**os.environ, **environment, "AUTOTRADER_HOME": str(folder / "home")},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            )
            stack.callback(process.terminate)
            assert process.stdout is not None
            where = json.loads(process.stdout.readline())["url"]
            headers = {"Authorization": f"Bearer {TOKEN}"}
            client = stack.enter_context(httpx.Client(base_url=where, headers=headers, trust_env=False))
            asked[name] = (client, psutil.Process(process.pid))
        for turn in range(4):
            for name, (client, process) in asked.items():
                before = process.cpu_times()
                for _ in range(REQUESTS):
                    assert client.post("/predict", json=body).status_code == 200
                after = process.cpu_times()
                if turn:
                    seconds = after.user + after.system - before.user - before.system
                    used[name].append(seconds / REQUESTS * 1e6)
                memory[name] = process.memory_info().rss / 1e6
    report("instrumentation.serving", used, memory, REQUESTS_A_SECOND)


def trader(folder: Path, url: str) -> None:
    """Processor time of a bar of ten instruments, each run in a process of its own."""
    used: dict[str, list[float]] = {"off": [], "on": []}
    memory: dict[str, float] = {}
    for turn in range(3):
        for name, endpoint in (("off", ""), ("on", url)):
            home = folder / f"{name}-{turn}"
            done = subprocess.run(
                [sys.executable, __file__, "--trade", str(home), endpoint],
                capture_output=True,
                text=True,
                check=True,
            )
            measured = json.loads(done.stdout.splitlines()[-1])
            used[name].append(measured["us_a_bar"])
            memory[name] = measured["rss_mb"]
    report("instrumentation.trading", used, memory, BARS_A_SECOND)


def report(
    name: str, used: Mapping[str, list[float]], memory: Mapping[str, float], per_second: float
) -> None:
    us = {label: round(statistics.median(values), 1) for label, values in used.items()}
    extra = us["on"] - us["off"]
    emit(
        {
            "name": name,
            "load_average": round(os.getloadavg()[0], 1),
            "cpu_us": us,
            "extra_cpu_percent_at_full_load": round(100 * extra / us["off"], 1),
            "extra_cpu_percent_of_a_core_as_used": round(100 * extra * per_second / 1e6, 4),
            "extra_memory_mb": round(memory["on"] - memory["off"], 1),
            "goal": "< 1 % of a core as used, < 50 MB",
        }
    )


def trade_once(home: Path, endpoint: str) -> None:
    """Of the child: six hours of bars, then one JSON line."""
    from trading import LATENCY_MINUTES, SYMBOLS, Scripted, home_of, scattered, trade, walk

    log.configure_logging(level="INFO", form="json")
    tracing.turn_on(endpoint or None, service="trader")
    home.mkdir(parents=True)
    settings = home_of(home, "trade", SYMBOLS)
    frame = walk(settings.instruments(), LATENCY_MINUTES)
    predictor = Scripted(scattered(settings.instruments()))
    used = time.process_time()
    with contextlib.redirect_stderr(io.StringIO()):
        asyncio.run(trade(settings, frame, predictor, replayed=True))
    tracing.flush()
    used = time.process_time() - used
    rss = psutil.Process().memory_info().rss / 1e6
    emit({"us_a_bar": used / LATENCY_MINUTES * 1e6, "rss_mb": rss})


def main() -> None:
    if sys.argv[1:2] == ["--trade"]:
        trade_once(Path(sys.argv[2]), sys.argv[3])
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))  # and end the service
    with collector() as url, tempfile.TemporaryDirectory(prefix="instrumentation-") as name:
        counter()
        entry()
        spans(url)
        service(Path(name) / "service", url)
        trader(Path(name) / "trader", url)


if __name__ == "__main__":
    main()
