from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from autotrader.adapters.clocks import StandingMarketClock
from autotrader.apps.exchange.server import StandInExchange, running
from autotrader.apps.exchange.simulated import SimulatedMarket
from autotrader.apps.stack.market import choose_market
from autotrader.apps.stack.quickstart import market_of
from autotrader.config.settings import Settings
from autotrader.domain.errors import ConfigurationError
from tests.services import free_port

END = datetime(2024, 3, 1, tzinfo=UTC)
CLOCK = StandingMarketClock(END)


@pytest.fixture(autouse=True)
def nothing_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No recorded bars are found unless a test puts them there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOTRADER_MARKET_DATA", raising=False)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Binance does not answer: nothing listens where it is looked for."""
    monkeypatch.setenv("AUTOTRADER_BINANCE__REST_URL", f"http://127.0.0.1:{free_port()}")


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    market = SimulatedMarket(("BTCUSDT", "ETHUSDT"), seed=1, end=END, days=1)
    with running(StandInExchange(market)) as exchange:
        monkeypatch.setenv("AUTOTRADER_BINANCE__REST_URL", exchange.rest_url)
        yield


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "recorded"
    folder.mkdir()
    market = SimulatedMarket(("BTCUSDT", "SOLUSDT"), seed=2, end=END, days=2)
    for symbol in market.symbols:
        labels = {"instrument": symbol, "venue": "BINANCE_SPOT", "interval": "1m"}
        frame = market.candles(symbol).rename({"trade_count": "trades"})
        frame.with_columns(**{k: pl.lit(v) for k, v in labels.items()}).write_parquet(
            folder / f"{symbol}.parquet"
        )
    monkeypatch.setenv("AUTOTRADER_MARKET_DATA", str(folder))
    return folder


@pytest.mark.usefixtures("answering", "recorded")
def test_binance_is_taken_if_it_answers_and_what_it_does_not_list_is_named() -> None:
    choice = choose_market(Settings(), CLOCK)
    assert choice.source == "binance"
    assert choice.is_live
    assert choice.instruments == ("BTCUSDT", "ETHUSDT")
    assert choice.left_out == {"BNBUSDT": "Binance does not list it"}
    assert choice.end == END


@pytest.mark.usefixtures("silent")
def test_recorded_bars_are_next_and_the_reason_says_why(recorded: Path) -> None:
    choice = choose_market(Settings(), CLOCK)
    assert choice.source == "recorded"
    assert "did not answer as Binance" in choice.reason
    assert choice.folder == recorded
    assert (choice.start, choice.end) == (END - timedelta(days=2), END)
    assert choice.instruments == ("BTCUSDT", "SOLUSDT")
    assert choice.added == ("SOLUSDT",)
    assert set(choice.left_out) == {"ETHUSDT", "BNBUSDT"}


@pytest.mark.usefixtures("silent", "recorded")
def test_instruments_that_a_person_named_are_not_added_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTRADER_BINANCE__INSTRUMENTS", "BTCUSDT")
    choice = choose_market(Settings(), CLOCK)
    assert choice.instruments == ("BTCUSDT",)
    assert choice.added == ()


@pytest.mark.usefixtures("silent")
def test_a_simulated_market_is_last_and_says_so() -> None:
    choice = choose_market(Settings(), CLOCK)
    assert choice.source == "SIMULATED"
    assert "did not answer as Binance" in choice.reason
    assert "no recorded bars" in choice.reason
    assert choice.end - choice.start == timedelta(days=120)
    planted = choose_market(Settings(simulation={"planted_signal": 0.1}), CLOCK)  # type: ignore[arg-type]
    assert planted.reason == f"with a planted signal of 0.1; {choice.reason}"


@pytest.mark.usefixtures("silent")
def test_a_source_that_is_set_and_cannot_be_used_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTRADER_MARKET_SOURCE", "binance")
    with pytest.raises(ConfigurationError, match="did not answer as Binance"):
        choose_market(Settings(), CLOCK)


@pytest.mark.usefixtures("silent", "recorded")
def test_none_of_the_named_instruments_is_an_error_that_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTRADER_BINANCE__INSTRUMENTS", "DOGEUSDT,XRPUSDT")
    with pytest.raises(ConfigurationError, match="none of DOGEUSDT, XRPUSDT"):
        choose_market(Settings(), CLOCK)


@pytest.mark.usefixtures("silent")
def test_a_folder_that_does_not_exist_is_an_error_not_a_reason_to_simulate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTRADER_MARKET_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match="AUTOTRADER_MARKET_DATA: expected a folder"):
        choose_market(Settings(), CLOCK)


@pytest.mark.usefixtures("silent")
def test_a_run_that_is_killed_while_it_notes_its_market_hinders_no_later_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(file: object, *_: object) -> None:
        if isinstance(file, Path):
            file.touch()
        raise KeyboardInterrupt

    home.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", killed)
        patch.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            market_of(Settings(), CLOCK)
    assert market_of(Settings(), CLOCK).source == "SIMULATED"
    assert market_of(Settings(), CLOCK).reason == "as in the run before; `make clean` starts anew"
