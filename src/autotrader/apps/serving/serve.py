"""Serve one model version in one colour until SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import json
import signal
import socket
import sys
from pathlib import Path

import structlog
import uvloop

from autotrader import command
from autotrader.apps.serving.application import PredictionApplication, ServingStatus
from autotrader.apps.serving.http_server import HttpServer, bind
from autotrader.apps.serving.prediction_log import PredictionLog
from autotrader.apps.serving.release import LoadedRelease, load_release
from autotrader.apps.serving.segments import SegmentHeader
from autotrader.config.serving_token import serving_token
from autotrader.config.settings import PREFIX, Settings
from autotrader.domain.errors import ConfigurationError, ExitCode
from autotrader.domain.rollout import Color

MAINTENANCE_SECONDS = 1.0

_log = structlog.get_logger(__name__)


def serve(
    *,
    settings: Settings,
    color: Color,
    release: Path,
    log: Path,
    port: int | None = None,
    host: str = "127.0.0.1",
) -> command.Result:
    """Serve a release over HTTP: POST /predict, GET /health, GET /metrics.

    It answers /health while it loads, refuses a model that is not the released one, and once it is
    ready prints one JSON line that says where. Every prediction is in the log before it is
    answered. On SIGTERM it accepts no more, answers what is under way and ends.

    Parameters
    ----------
    color : Color
        The part it plays; requests that name the other are turned away.
    release : Path
        Folder of model.onnx and release.json.
    log : Path
        Folder of the prediction log.
    port : int or None
        The colour's of the settings if left out; 0 takes a free one.
    host : str
        Address to listen on. Beyond loopback the callers' token must be set: nobody else knows one
        that is made here.

    Raises
    ------
    ConfigurationError
        If the port is taken, or there is no token for callers from elsewhere.
    NotFound, BadData, Refused
        If the release is missing, damaged, or not what it says.
    DependencyError
        If the prediction log cannot be written.
    """
    if not _is_loopback(host) and settings.serving.token is None:
        raise ConfigurationError(
            f"{PREFIX}SERVING__TOKEN: expected the callers' token where others may ask ({host}), was empty"
        )
    default = settings.serving.blue_port if color is Color.BLUE else settings.serving.green_port
    listening = bind(host, default if port is None else port)
    # An event loop in C: a fifth less of a core for each request.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        drained = runner.run(_serve(settings, color, release, log, listening))
    if drained:
        return command.Result({"stopped": True}, "stopped")
    return command.Result(
        {"stopped": True, "drained": False}, "stopped in the middle of requests", ExitCode.FAILED
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _serve(settings: Settings, color: Color, folder: Path, log: Path, listening: socket.socket) -> bool:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    application = PredictionApplication(
        color=color, token=serving_token(settings), in_progress=lambda: server.under_way
    )
    server = HttpServer(application, max_concurrency=settings.serving.max_concurrency)
    host, port = listening.getsockname()[:2]
    await server.start(listening)

    loaded = await asyncio.to_thread(load_release, folder)
    predictions = PredictionLog(log, _header(settings, color, loaded))
    finished = asyncio.Event()
    maintenance = asyncio.create_task(_maintain(predictions, finished))
    application.serve(loaded, predictions, max_rows=settings.serving.max_rows)
    gc.collect()
    gc.freeze()  # what lives as long as the process is not looked at again
    _announce(host, port, color, loaded)

    await told.wait()
    application.status = ServingStatus.DRAINING
    _log.info("draining", under_way=server.under_way)
    drained = await server.drain(settings.serving.drain_seconds)
    finished.set()
    await maintenance
    predictions.close()
    return drained


async def _maintain(log: PredictionLog, finished: asyncio.Event) -> None:
    while not finished.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(finished.wait(), MAINTENANCE_SECONDS)
        log.look_after()
        await asyncio.to_thread(log.maintain)


def _header(settings: Settings, color: Color, loaded: LoadedRelease) -> SegmentHeader:
    return SegmentHeader(
        color=color.value,
        model=loaded.release.model,
        version=loaded.release.version,
        onnx_sha256=loaded.release.onnx_sha256,
        feature_set=loaded.release.feature_set,
        interval=loaded.interval or settings.strategy.interval.value,
        feature_names=loaded.feature_names,
    )


def _announce(host: str, port: int, color: Color, loaded: LoadedRelease) -> None:
    address = f"[{host}]" if ":" in host else host
    line = {
        "url": f"http://{address}:{port}",
        "color": color.value,
        "model": loaded.release.model,
        "version": loaded.release.version,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(command.run(serve))
