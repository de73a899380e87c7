"""Serve the HTTP API until SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import socket
import sys
from collections.abc import Iterator

import structlog
import uvicorn
import uvloop
from sqlalchemy import Engine

from autotrader import command
from autotrader.apps.api.application import create_application
from autotrader.apps.serving.http_server import bind
from autotrader.config.settings import PREFIX, Settings
from autotrader.domain.errors import ConfigurationError
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.deployment import DeploymentRecords
from autotrader.ports.events import EventLog
from autotrader.ports.tokens import Tokens
from autotrader.ports.trading import TradingRecords

DRAIN_SECONDS = 5
MOST_CONNECTIONS = 512
MOST_WEBSOCKET_BYTES = 4_096  # clients have nothing to say

_log = structlog.get_logger(__name__)


def serve(
    *,
    settings: Settings,
    engine: Engine,
    events: EventLog,
    records: TradingRecords,
    deployment: DeploymentRecords,
    tokens: Tokens,
    clock: WallClock,
    market_clock: MarketClock,
    host: str | None = None,
    port: int | None = None,
) -> command.Result:
    """Serve positions, PnL, orders, events, health and the stream over HTTP; take requests for the trader.

    Once it answers, it prints one JSON line that says where. On SIGTERM it accepts no more, answers
    what is under way, and ends.

    Parameters
    ----------
    host : str or None
        Address to listen on; that of the settings if left out.
    port : int or None
        That of the settings if left out; 0 takes a free one.

    Raises
    ------
    ConfigurationError
        If the port is taken, or certificate and key are not given together.
    """
    api = settings.api
    certificate, key = api.tls_certificate, api.tls_key
    if (certificate is None) != (key is None):
        raise ConfigurationError(
            f"{PREFIX}API__TLS_CERTIFICATE and {PREFIX}API__TLS_KEY: expected both or none, was one"
        )
    for name, file in (("TLS_CERTIFICATE", certificate), ("TLS_KEY", key)):
        if file is not None and not file.is_file():
            raise ConfigurationError(f"{PREFIX}API__{name}: expected a file, was none at {file}")
    application = create_application(
        settings=settings,
        engine=engine,
        events=events,
        records=records,
        deployment=deployment,
        tokens=tokens,
        clock=clock,
        market_clock=market_clock,
    )
    config = uvicorn.Config(
        application,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        log_config=None,
        access_log=False,  # ours has the request's id and time
        proxy_headers=False,  # whoever is asked must see who asks
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        ws_max_size=MOST_WEBSOCKET_BYTES,
        ws_per_message_deflate=False,  # small messages: it would cost more than it saves
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    listening = bind(api.host if host is None else host, api.port if port is None else port)
    server = _Server(config, _url(listening, encrypted=certificate is not None))
    # An event loop in C: half the time of a small answer is the loop's.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(sockets=[listening]))
    return command.Result({"stopped": True}, "stopped")


class _Server(uvicorn.Server):
    """Says where it is, and ends on a signal as a command does: by returning."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            gc.freeze()  # what is there now stays: looking through it would hold all requests up for 50 ms
            sys.stdout.write(json.dumps({"url": self._url}) + "\n")
            sys.stdout.flush()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        yield

    def _end(self) -> None:
        _log.info("ending")
        self.should_exit = True


def _url(listening: socket.socket, *, encrypted: bool) -> str:
    host, port = listening.getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    return f"{'https' if encrypted else 'http'}://{address}:{port}"


if __name__ == "__main__":
    raise SystemExit(command.run(serve))
