"""The command: what it prints, its exit codes, and that it can be repeated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autotrader import bootstrap, command
from autotrader.domain.instruments import Venue
from autotrader.ingestion.manual_fetch import manual_fetch
from tests.unit.ingestion.market import Platform, market

WINDOW = ["--start", "2024-02-01 00:00:00", "--end", "2024-02-01 06:00:00"]


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """The command's ports are those of a platform in memory."""
    made = Platform(tmp_path, market())
    container = bootstrap.Container
    for name in ("archive", "lake", "holds"):
        monkeypatch.setattr(container, name, property(lambda _, name=name: getattr(made, name)))
    monkeypatch.setattr(container, "market_clock", property(lambda _: made.clock))
    monkeypatch.setattr(container, "source", lambda _, venue: made.sources(venue))
    monkeypatch.setattr(container, "decoder", lambda _, venue: made.decoders(venue))
    return made


def fetch(*words: str) -> int:
    return command.run(manual_fetch, ["--exchange", "binance", *words])


def test_it_fetches_several_instruments(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("--instruments", "BTCUSDT", "ETHUSDT", *WINDOW, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["instruments"]["binance:ETHUSDT"]["rows"] == 360
    assert said["bars"]["inserted"] == 720
    assert said["severity"] == "healthy"
    assert platform.store.bars.count() == 720


def test_doing_it_again_changes_nothing_and_leaves_no_staging(
    platform: Platform, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert fetch("--instruments", "BTCUSDT", *WINDOW) == 0
    assert "0 new, 360 unchanged" in capsys.readouterr().out
    assert list((home / "staging").iterdir()) == []


def test_what_was_staged_before_an_interruption_is_used(platform: Platform, home: Path) -> None:
    bars = platform.bars
    platform.bars = {"BTCUSDT": bars["BTCUSDT"]}
    source = platform.sources

    def interrupted(venue: Venue) -> object:
        opened = source(venue)
        if len(platform.opened) == 2:
            opened.aclose, pages = opened.aclose, opened.pages

            async def some(*asked: object) -> object:
                async for page in pages(*asked):
                    yield page
                    raise KeyboardInterrupt

            opened.pages = some
        return opened

    platform.sources = interrupted
    assert fetch("--instruments", "BTCUSDT", *WINDOW) == 130
    assert len(list((home / "staging").rglob("*.gz"))) == 1
    assert fetch("--instruments", "BTCUSDT", *WINDOW) == 0
    assert platform.store.bars.count() == 360


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--instruments", "NOSUCH", *WINDOW], 1, "expected instruments of binance, was NOSUCH"),
        (["--instruments", "BTCUSDT", "--start", "2024-02-01", "--end", "2024-01-01"], 2, "swap the dates"),
        (
            ["--instruments", "BTCUSDT", "--start", "2024-02-01", "--end", "2034-01-01"],
            2,
            "not after market time",
        ),
        (
            ["--instruments", "BTCUSDT", "--start", "2034-02-01", "--end", "2034-03-01"],
            2,
            "not after market time",
        ),
    ],
)
def test_bad_input_is_one_clear_line(
    platform: Platform, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert fetch(*words) == code
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1
    assert platform.store.version() is None
