"""Which market the quickstart works on, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import httpx

from autotrader.apps.exchange.recorded import RecordedMarket
from autotrader.config.settings import BinanceSettings, MarketSource, Settings
from autotrader.domain.bars import last_closed_open
from autotrader.domain.errors import ConfigurationError, NotFound, Unreachable
from autotrader.ports.clock import MarketClock

PROBE_SECONDS = 3.0
BESIDE = Path("../shared/data")


@dataclass(frozen=True, slots=True)
class MarketChoice:
    """The market that was chosen.

    Attributes
    ----------
    source : str
        Label of every bar, output and report: `binance`, `recorded` or `SIMULATED`.
    reason : str
        One sentence: why this one.
    start, end : datetime
        Bar opens in [start, end) are loaded at first; `end` is where market time stands, too,
        unless the source is live.
    instruments : tuple of str
    left_out : Mapping[str, str]
        Instruments of the settings that the source does not have, each with the reason.
    added : tuple of str
        Recorded instruments that nobody named; taken when the setting was left at its default.
    folder : Path or None
        Of the recorded bars.
    """

    source: str
    reason: str
    start: datetime
    end: datetime
    instruments: tuple[str, ...]
    left_out: dict[str, str]
    added: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def is_live(self) -> bool:
        return self.source == MarketSource.BINANCE.value


def choose_market(settings: Settings, clock: MarketClock) -> MarketChoice:
    """Binance if it answers, else recorded bars, else a simulated market; or the one that is set.

    Raises
    ------
    ConfigurationError
        If the source that is set cannot be used, or has none of the instruments.
    """
    wanted = settings.market_source
    refusals: list[str] = []
    if wanted in (MarketSource.AUTO, MarketSource.BINANCE):
        try:
            return _binance(settings, clock)
        except Unreachable as error:
            refusals.append(str(error))
    if wanted in (MarketSource.AUTO, MarketSource.RECORDED):
        try:
            return _recorded(settings, "; ".join(refusals) or "asked for by AUTOTRADER_MARKET_SOURCE")
        except NotFound as error:
            refusals.append(str(error))
    if wanted in (MarketSource.AUTO, MarketSource.SIMULATED):
        return _simulated(settings, "; ".join(refusals) or "asked for by AUTOTRADER_MARKET_SOURCE")
    raise ConfigurationError(f"AUTOTRADER_MARKET_SOURCE={wanted.value} cannot be used: {'; '.join(refusals)}")


def _binance(settings: Settings, clock: MarketClock) -> MarketChoice:
    url = settings.binance.rest_url
    try:
        answer = httpx.get(f"{url}/api/v3/exchangeInfo", timeout=PROBE_SECONDS)
        symbols = {entry["symbol"] for entry in answer.raise_for_status().json()["symbols"]}
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise Unreachable(f"{url} did not answer as Binance ({type(error).__name__})") from error
    instruments, left_out = _split(settings.binance.instruments, symbols, "Binance does not list it")
    interval = settings.strategy.interval
    end = last_closed_open(clock.now(), interval) + interval.delta
    days = settings.training.lookback_days + settings.training.fold_days * 2
    return MarketChoice(
        source=MarketSource.BINANCE.value,
        reason=f"{url} answers",
        start=end - timedelta(days=days),
        end=end,
        instruments=instruments,
        left_out=left_out,
    )


def _recorded(settings: Settings, why: str) -> MarketChoice:
    folder = settings.market_data or (BESIDE if BESIDE.is_dir() else None)
    if folder is None:
        raise NotFound(f"no recorded bars: AUTOTRADER_MARKET_DATA is not set and {BESIDE} does not exist")
    if not folder.is_dir():
        raise ConfigurationError(f"AUTOTRADER_MARKET_DATA: expected a folder, was {folder}")
    market = RecordedMarket(folder.resolve())
    instruments, left_out = _split(
        settings.binance.instruments, market.symbols, "not among the recorded bars"
    )
    chosen_by_user = settings.binance.instruments != BinanceSettings().instruments
    added = () if chosen_by_user else tuple(s for s in market.symbols if s not in instruments)
    return MarketChoice(
        source=RecordedMarket.source,
        reason=why,
        start=market.start,
        end=market.end,
        instruments=instruments + added,
        left_out=left_out,
        added=added,
        folder=folder.resolve(),
    )


def _simulated(settings: Settings, why: str) -> MarketChoice:
    simulation = settings.simulation
    signal = simulation.planted_signal
    return MarketChoice(
        source="SIMULATED",
        reason=f"with a planted signal of {signal:g}; {why}" if signal else why,
        start=simulation.end - timedelta(days=simulation.days),
        end=simulation.end,
        instruments=settings.binance.instruments,
        left_out={},
    )


def _split(
    wanted: Sequence[str], there: Sequence[str] | set[str], reason: str
) -> tuple[tuple[str, ...], dict[str, str]]:
    found = tuple(symbol for symbol in wanted if symbol in there)
    if not found:
        raise ConfigurationError(
            f"AUTOTRADER_BINANCE__INSTRUMENTS: none of {', '.join(wanted)} can be had: {reason}"
        )
    return found, {symbol: reason for symbol in wanted if symbol not in found}
