"""The data commands: what they say, and their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from autotrader import bootstrap, command
from autotrader.adapters.clocks import StandingMarketClock, SystemWallClock
from autotrader.data.bars import BarStore
from autotrader.data.check_completeness import check_completeness
from autotrader.data.lake import Lake, LakeTable
from autotrader.data.rollback import rollback
from autotrader.data.schemas import KEY, TIMESTAMP
from autotrader.data.validate import validate
from autotrader.domain.errors import Unreachable
from autotrader.ports.events import EventType
from autotrader.ports.registry import ModelStatus, ModelVersion
from tests.fakes.events import InMemoryEventLog
from tests.fakes.holds import InMemoryHolds
from tests.unit.data.frames import MINUTE, START, stored_bars

NOW = START + timedelta(days=1)
DAY = ["--date", "2024-02-01"]
WHO = ["--actor", "ops@desk", "--reason", "bad ticks"]
Said = Callable[[], dict]


class Registry:
    """Versions that say what they saw, or not; can be away."""

    def __init__(self) -> None:
        self.reachable = True
        self.versions = [
            self._version(
                "v1.0.0", data_start="2024-01-01", data_end="2024-01-31", instruments="binance:BTCUSDT"
            ),
            self._version(
                "v1.1.0", data_start="2024-01-15", data_end="2024-02-15", instruments="binance:BTCUSDT"
            ),
            self._version(
                "v1.2.0", data_start="2024-01-15", data_end="2024-02-15", instruments="binance:ETHUSDT"
            ),
            self._version("v0.9.0"),
        ]

    def list(self, name: str) -> list[ModelVersion]:
        if not self.reachable:
            raise Unreachable("expected an answer, was none")
        return self.versions

    @staticmethod
    def _version(semver: str, **tags: str) -> ModelVersion:
        return ModelVersion("m", 1, semver, ModelStatus.CANDIDATE, "", (), "", "", NOW, tags)


class Desk:
    """The ports of the commands, over one folder."""

    def __init__(self, folder: Path) -> None:
        self.lake = Lake(str(folder / "lake"))
        self.holds = InMemoryHolds()
        self.events = InMemoryEventLog()
        self.registry = Registry()
        self.market_clock = StandingMarketClock(NOW)
        self.wall_clock = SystemWallClock()
        self.bars = BarStore(self.lake, self.holds)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path)
    for name in ("lake", "holds", "events", "registry", "market_clock", "wall_clock"):
        monkeypatch.setattr(bootstrap.Container, name, property(lambda _, name=name: getattr(made, name)))
    monkeypatch.setenv("AUTOTRADER_BINANCE__INSTRUMENTS", "BTCUSDT ETHUSDT")
    made.bars.upsert([stored_bars(name, minutes=1440) for name in ("BTCUSDT", "ETHUSDT")], commit_key="a")
    return made


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: json.loads(capsys.readouterr().out)


# ------------------------------------------------------------------------------ validate


def test_a_good_day_is_healthy(desk: Desk, said: Said) -> None:
    assert command.run(validate, [*DAY, "--json"]) == 0
    found = said()
    assert found["severity"] == "healthy"
    assert [v["subject"] for v in found["verdicts"]] == [
        "binance:BTCUSDT 2024-02-01",
        "binance:ETHUSDT 2024-02-01",
    ]


def test_a_day_with_gaps_is_critical_and_exits_one(desk: Desk, said: Said) -> None:
    desk.lake.table("bars", desk.bars.bars.schema).delete_range(
        commit_key="x", instruments=["ETHUSDT"], start=START, end=START + 200 * MINUTE
    )
    assert command.run(validate, [*DAY, "--instrument", "ETHUSDT", "--json"]) == 1
    assert "lacks 200 of 1440" in said()["verdicts"][0]["reason"]
    assert command.run(validate, [*DAY, "--instrument", "binance:BTCUSDT"]) == 0


def test_a_damaged_file_is_named(desk: Desk, said: Said) -> None:
    victim = next(desk.lake.root.glob("bars/*/*/instrument=BTCUSDT/*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-10])
    assert command.run(validate, [*DAY, "--json"]) == 1
    assert victim.name in said()["verdicts"][0]["reason"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([*DAY, "--instrument", "NOSUCH"], 1, "expected venue:symbol, or one of the settings'"),
        ([*DAY, "--instrument", "nyse:IBM"], 1, "expected venue:symbol with a venue of"),
        (["--date", "2034-01-01"], 2, "not after market time"),
    ],
)
def test_validate_refuses_bad_input_in_one_line(
    desk: Desk, capsys: pytest.CaptureFixture[str], words: list[str], code: int, told: str
) -> None:
    assert command.run(validate, words) == code
    line = capsys.readouterr().err
    assert told in line
    assert len(line.splitlines()) == 1


# ------------------------------------------------------------------------------ completeness


def test_completeness_compares_with_the_calendar_until_the_last_closed_bar(desk: Desk, said: Said) -> None:
    assert command.run(check_completeness, ["--start", "2024-02-01", "--end", "2024-02-09", "--json"]) == 0
    evidence = said()["verdicts"][0]["findings"][0]["evidence"]
    assert (evidence["expected"], evidence["missing"]) == (1440, 0)


def test_completeness_finds_a_day_that_is_not_there(desk: Desk, said: Said) -> None:
    words = ["--start", "2024-01-31", "--end", "2024-02-02", "--instruments", "BTCUSDT", "--json"]
    assert command.run(check_completeness, words) == 1
    found = said()["verdicts"][0]["findings"][0]
    assert found["evidence"]["missing"] == 1440
    assert found["evidence"]["first_missing"][0] == "2024-01-31T00:00:00Z"


@pytest.mark.parametrize("words", [["2024-02-02", "2024-02-01"], ["2034-02-02", "2034-02-03"]])
def test_completeness_refuses_reversed_and_future_windows(desk: Desk, words: list[str]) -> None:
    assert command.run(check_completeness, ["--start", words[0], "--end", words[1]]) == 2


# ------------------------------------------------------------------------------ rollback


def features_of(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(*KEY, pl.lit(1.0).alias("rsi"))


def test_a_dry_run_shows_the_blast_radius_and_does_nothing(desk: Desk, said: Said) -> None:
    features = dict.fromkeys(KEY[:3], pl.String) | {"ts": TIMESTAMP, "rsi": pl.Float64}
    desk.lake.table("features", features).upsert([features_of(stored_bars(minutes=1440))], commit_key="f")
    before = desk.bars.bars.version()
    hour = ["--start", "2024-02-01 01:00", "--end", "2024-02-01 02:00", "--instrument", "BTCUSDT"]
    assert command.run(rollback, [*WHO, *hour, "--dry-run", "--json"]) == 0
    found = said()
    assert found["rows"] == 60
    assert found["blast_radius"]["bars"] == {"binance:BTCUSDT": 60}
    assert found["blast_radius"]["derived_rows"] == {"features": 1440 - 60}
    assert found["blast_radius"]["models"] == [
        {"version": "v1.1.0", "status": "candidate", "certain": True},
        {"version": "v0.9.0", "status": "candidate", "certain": False},
    ]
    assert (desk.bars.bars.version(), desk.holds.all(), desk.events.recent()) == (before, [], [])


def test_rollback_and_undo_are_exact_repeatable_and_recorded(desk: Desk, said: Said) -> None:
    before = desk.bars.bars.read()
    words = [*WHO, *DAY, "--instrument", "BTCUSDT", "--json"]
    assert command.run(rollback, words) == 0
    first = said()
    assert (first["action"], first["rows"]) == ("rollback", 1440)
    assert desk.bars.bars.read(instruments=["BTCUSDT"]).is_empty()
    assert command.run(rollback, words) == 0
    second = said()
    assert (second["hold_id"], second["rows"]) == (first["hold_id"], 0)
    assert len(desk.holds.all()) == 1
    done = desk.bars.upsert([stored_bars(minutes=1440)], commit_key="rerun")
    assert (done.held, done.inserted) == (1440, 0)
    for rows in (1440, 0):
        assert command.run(rollback, [*WHO, "--undo", first["hold_id"], "--json"]) == 0
        assert said()["rows"] == rows
    assert_frame_equal(desk.bars.bars.read(), before)
    assert desk.holds.in_force() == []
    events = desk.events.recent(type=EventType.DATA)
    assert [e.actor for e in events] == ["ops@desk"] * 2
    assert {e.message.split(" of ")[0] for e in events} == {"1440 bars"}


def test_all_instruments_are_taken_back_when_none_is_named(desk: Desk, said: Said) -> None:
    assert command.run(rollback, [*WHO, *DAY, "--json"]) == 0
    assert said()["rows"] == 2880
    assert desk.bars.bars.count() == 0


def test_an_undoing_names_the_holds_that_keep_bars_out_still(desk: Desk, said: Said) -> None:
    named = []
    for words in (["--instrument", "BTCUSDT"], []):
        assert command.run(rollback, [*WHO, *DAY, *words, "--json"]) == 0
        named.append(said()["hold_id"])
    for undone, (rows, others) in zip(named, ((0, [named[1]]), (2880, [])), strict=True):
        assert command.run(rollback, [*WHO, "--undo", undone, "--json"]) == 0
        told = said()
        assert (told["rows"], told["still_held_by"]) == (rows, others)


def test_a_registry_that_is_away_does_not_stop_a_rollback(desk: Desk, said: Said) -> None:
    desk.registry.reachable = False
    assert command.run(rollback, [*WHO, *DAY, "--json"]) == 0
    assert "expected an answer" in said()["blast_radius"]["models_unknown"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--actor", " ", "--reason", "x", *DAY], 2),
        ([*WHO], 2),
        ([*WHO, *DAY, "--start", "2024-02-01"], 2),
        ([*WHO, "--start", "2024-02-02", "--end", "2024-02-01"], 2),
        ([*WHO, "--undo", "hold-1", *DAY], 2),
        ([*WHO, "--undo", "hold-1"], 1),
    ],
)
def test_rollback_refuses_what_it_does_not_understand(desk: Desk, words: list[str], code: int) -> None:
    assert command.run(rollback, words) == code
    assert desk.holds.all() == []


def interrupted(*_: object, **__: object) -> int:
    raise KeyboardInterrupt


def test_a_rollback_that_was_stopped_half_way_is_finished_by_the_next(desk: Desk, said: Said) -> None:
    before = desk.bars.bars.read()
    words = [*WHO, *DAY, "--instrument", "BTCUSDT", "--json"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LakeTable, "delete_range", interrupted)
        assert command.run(rollback, words) == 130
    assert command.run(rollback, words) == 0
    hold_id = said()["hold_id"]
    assert desk.bars.bars.read(instruments=["BTCUSDT"]).is_empty()
    past = desk.bars.history.read()
    assert (past.height, past["superseded_at"].unique().to_list()) == (1440, [NOW])
    assert command.run(rollback, [*WHO, "--undo", hold_id]) == 0
    assert_frame_equal(desk.bars.bars.read(), before)
