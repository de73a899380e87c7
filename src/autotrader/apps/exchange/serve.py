"""Run the stand-in exchange until SIGTERM."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from autotrader.apps.exchange.market import Market
    from autotrader.apps.exchange.server import StandInExchange


class MarketKind(StrEnum):
    RECORDED = "recorded"
    SIMULATED = "simulated"


def serve(
    *,
    settings: Settings,
    market: MarketKind = MarketKind.SIMULATED,
    folder: Path | None = None,
    symbols: tuple[str, ...] = (),
    host: str = "127.0.0.1",
    port: int = 0,
    market_time: datetime | None = None,
    speed: float = 0.0,
    fault: tuple[str, ...] = (),
    balance: tuple[str, ...] = ("USDT=100000",),
) -> command.Result:
    """Serve a recorded or simulated market, and an account, over Binance's spot protocol.

    Once it listens, one JSON line on stdout says where, and what it serves. It ends on SIGTERM or
    SIGINT. The simulated market is that of the settings `AUTOTRADER_SIMULATION__*`.

    Parameters
    ----------
    market : MarketKind
        Where the bars come from.
    folder : Path or None
        Folder of recorded bars; that of the settings if left out.
    symbols : tuple of str
        Symbols of the simulated market; those of the settings if left out.
    host : str
        Address to listen on. Whoever reaches it may trade its account and make it misbehave.
    port : int
        0 takes a free one.
    market_time : datetime or None
        Where the exchange's clock begins; the end of the data if left out.
    speed : float
        Market seconds per second; 0 stands still.
    fault : tuple of str
        Misbehaviour from the start, as JSON: '{"kind": "throttled", "count": 3}'.
    balance : tuple of str
        What is in the account: asset=amount.

    Raises
    ------
    ConfigurationError
        If a recorded market is asked for and no folder is known, or a fault or balance is none.
    """
    from autotrader.apps.exchange.faults import Fault
    from autotrader.apps.exchange.server import StandInExchange

    exchange = StandInExchange(
        _open_market(settings, market, folder, symbols),
        market_time=market_time,
        speed=speed,
        faults=[Fault.parse(text) for text in fault],
        balances=dict(map(_balance, balance)),
    )
    asyncio.run(_serve_until_told(exchange, port, host))
    return command.Result({"stopped": True}, "stopped")


def _balance(text: str) -> tuple[str, Decimal]:
    asset, _, amount = text.partition("=")
    try:
        value = Decimal(amount)
    except InvalidOperation:
        value = Decimal(-1)
    if not asset or not value.is_finite() or value < 0:
        raise ConfigurationError(f"expected asset=amount, was {text!r}: give --balance USDT=100000")
    return asset, value


def _open_market(
    settings: Settings, kind: MarketKind, folder: Path | None, symbols: tuple[str, ...]
) -> Market:
    if kind is MarketKind.SIMULATED:
        from autotrader.apps.exchange.simulated import SimulatedMarket

        simulation = settings.simulation
        return SimulatedMarket(
            symbols or settings.binance.instruments,
            seed=simulation.seed,
            end=simulation.end,
            days=simulation.days,
            planted_signal=simulation.planted_signal,
        )
    from autotrader.apps.exchange.recorded import RecordedMarket

    place = folder or settings.market_data
    if place is None:
        raise ConfigurationError("expected a folder of recorded bars, was none: give --folder")
    return RecordedMarket(place)


async def _serve_until_told(exchange: StandInExchange, port: int, host: str) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, told.set)
    try:
        await exchange.start(port, host)
    except OSError as failure:
        raise ConfigurationError(f"expected {host}:{port} to be free, was: {failure}") from failure
    try:
        sys.stdout.write(json.dumps(command.to_plain(exchange.listening())) + "\n")
        sys.stdout.flush()
        await told.wait()
    finally:
        await exchange.stop()


if __name__ == "__main__":
    raise SystemExit(command.run(serve))
