"""Steps of the data pipeline up to the bars in the lake."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from autotrader.config.settings import Settings
from autotrader.domain.errors import (
    AutotraderError,
    BadData,
    ConfigurationError,
    NotFound,
    Rejected,
    Unreachable,
)
from autotrader.domain.instruments import Venue
from autotrader.pipelines.data_steps import left_out_of
from autotrader.pipelines.params import DATA_RETRIES
from autotrader.pipelines.values import staging_of
from tests.unit.data.trouble import TROUBLES, in_trouble
from tests.unit.pipelines.platform import NOW, Platform, bars_of


def many(count: int) -> tuple[str, ...]:
    return tuple(f"COIN{number:03}" for number in range(count))


def three_venues(home: Path) -> Platform:
    settings = Settings(
        _env_file=None,
        home=home,
        venues=("binance", "ibkr", "oanda"),
        binance={"instruments": ("BTCUSDT", "ETHUSDT")},
        ibkr={"instruments": ("AAPL", "MSFT")},
        oanda={"instruments": ("EUR_USD",)},
        ingestion={"initial_days": 2},
    )
    return Platform(settings, {v: bars_of(v, *symbols) for v, symbols in (
        (Venue.BINANCE, ("BTCUSDT", "ETHUSDT")), (Venue.IBKR, ("AAPL", "MSFT")), (Venue.OANDA, ("EUR_USD",))
    )})  # fmt: skip


@pytest.fixture
def platform(home: Path) -> Platform:
    return Platform.at(home, "BTCUSDT", "ETHUSDT")


# ----------------------------------------------------------------------------------- planning


def test_a_task_each_instrument_but_one_for_the_gateway_that_takes_one_connection(home: Path) -> None:
    planned = three_venues(home).plan()
    assert [work["label"] for work in planned] == [
        "binance:BTCUSDT",
        "binance:ETHUSDT",
        "ibkr: 2 instruments",
        "oanda:EUR_USD",
    ]


@pytest.mark.parametrize(("instruments", "tasks"), [(1, 1), (64, 64), (65, 64), (200, 64)])
def test_more_instruments_than_64_share_tasks(home: Path, instruments: int, tasks: int) -> None:
    planned = Platform.at(home, *many(instruments)).plan()
    assert len(planned) == tasks
    named = [a["instrument"] for work in planned for a in work["assignments"]]
    assert named == list(many(instruments))


def test_a_setting_that_the_venue_does_not_have_is_left_out_and_named(home: Path) -> None:
    platform = Platform.at(home, "BTCUSDT", "NOSUCHCOIN")
    del platform.bars[Venue.BINANCE]["NOSUCHCOIN"]
    (work,) = platform.plan("r")
    assert work["label"] == "binance:BTCUSDT"
    reason = "the source has no such instrument"
    staging = staging_of(Path, platform.settings, "data_pipeline", "r")
    assert left_out_of(staging) == {"binance:NOSUCHCOIN": reason}
    assert platform.run("r")["left_out"] == {"binance:NOSUCHCOIN": reason}


def test_an_instrument_asked_for_by_name_that_does_not_exist_is_an_error(platform: Platform) -> None:
    with pytest.raises(NotFound, match="binance:NOSUCHCOIN: the source has no such instrument"):
        platform.plan(instruments=["BTCUSDT", "NOSUCHCOIN"], venues=["binance"])


def test_one_that_no_setting_knows_needs_its_venue_named(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="or one venue with them, was DOGEUSDT"):
        three_venues(home).plan(instruments=["DOGEUSDT"])


def test_an_instrument_that_is_asked_for_twice_is_loaded_once(platform: Platform) -> None:
    (work,) = platform.plan(instruments=["BTCUSDT", "BTCUSDT"])
    assert len(work["assignments"]) == 1


def test_a_market_that_has_none_of_the_settings_is_an_error(platform: Platform) -> None:
    platform.bars[Venue.BINANCE].clear()
    with pytest.raises(ConfigurationError, match="expected an instrument to load, was none"):
        platform.plan()


def test_a_venue_that_is_down_at_planning_keeps_its_place_and_fails_in_its_own_task(home: Path) -> None:
    platform = three_venues(home)
    platform.down = {Venue.OANDA}
    planned = platform.plan()
    assert planned[-1]["label"] == "oanda:EUR_USD"
    assert platform.extract(planned[0])["label"] == "binance:BTCUSDT"
    with pytest.raises(Unreachable):
        platform.extract(planned[-1])


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"mode": "sideways"}, "expected a mode of incremental, backfill, reprocess, was 'sideways'"),
        ({"mode": "backfill"}, "expected start_date with mode backfill"),
        ({"mode": "reprocess"}, "expected date with mode reprocess"),
        ({"start_date": "2024-02-01"}, "expected no start_date with mode incremental"),
        ({"mode": "backfill", "start_date": "2024-02-20", "end_date": "2024-02-10"}, "swap the dates"),
        ({"mode": "backfill", "start_date": "2031-01-01"}, "expected start not after market time 2024-03-01"),
        (
            {"mode": "backfill", "start_date": "2024-02-20", "end_date": "2031-01-01"},
            "expected a day not after market time",
        ),
        ({"mode": "reprocess", "date": "2031-01-01"}, "expected a day not after market time"),
        ({"mode": "backfill", "start_date": "2024-02-31"}, "expected start_date as YYYY-MM-DD"),
        ({"venues": ["nasdaq"]}, "expected venues of binance, ibkr, oanda, was nasdaq"),
    ],
)
def test_a_request_that_makes_no_sense_fails_before_any_venue_is_asked(
    platform: Platform, conf: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        platform.plan(**conf)
    assert platform.asked == []


# -------------------------------------------------------------------- fetch, archive, validate


def test_an_instrument_that_fails_leaves_the_others_staged_and_a_retry_goes_on(home: Path) -> None:
    platform = Platform.at(home, *many(65))
    work = next(work for work in platform.plan() if len(work["assignments"]) == 2)
    lost = work["assignments"][1]["instrument"]
    platform.fails = {lost: (2, Unreachable("gone"))}
    with pytest.raises(Unreachable, match=rf"binance did not deliver everything: {lost}: Unreachable: gone"):
        platform.extract(work)
    platform.fails = {}
    archived = platform.archive_pages(platform.extract(work))
    assert [one["pages"] for one in archived["archived"]] == [6, 6]


def test_an_instrument_that_the_gateway_refuses_keeps_none_of_the_others_back(home: Path) -> None:
    platform = three_venues(home)
    platform.fails = {"MSFT": (0, Rejected("no permission"))}
    planned = platform.plan(venues=["ibkr"])
    validated = platform.validated(planned)
    loaded = platform.load([platform.transform(work) for work in platform.commit(validated)])
    assert stored_of(platform) == {"AAPL"}
    assert {entry.key.split("/")[2] for entry in platform.archive.entries()} == {"AAPL"}
    assert loaded["inserted"] == platform.store.bars.count() > 0
    with pytest.raises(BadData, match=r"ibkr:MSFT did not come whole: Rejected: no permission"):
        platform.health(planned, validated, loaded)


def test_one_that_might_come_is_tried_as_often_as_the_task_and_then_left_out(home: Path) -> None:
    platform = three_venues(home)
    platform.fails = {"MSFT": (1, Unreachable("no answer"))}
    planned = platform.plan(venues=["ibkr"])
    for _ in range(DATA_RETRIES):
        with pytest.raises(Unreachable, match="ibkr did not deliver everything: MSFT: Unreachable"):
            platform.extract(planned[0])
        platform.fails = {"MSFT": (0, Unreachable("no answer"))}
    validated = platform.validated(planned)
    loaded = platform.load([platform.transform(work) for work in platform.commit(validated)])
    assert stored_of(platform) == {"AAPL", "MSFT"}  # of the latter the page that came
    assert loaded["inserted"] == platform.store.bars.count()
    with pytest.raises(BadData, match=r"ibkr:MSFT did not come whole: Unreachable: no answer"):
        platform.health(planned, validated, loaded)


def stored_of(platform: Platform) -> set[str]:
    return set(platform.store.bars.read(columns=["instrument"])["instrument"])


def test_a_corrupt_archive_file_is_bad_data_that_names_it(platform: Platform) -> None:
    work = platform.archive_pages(platform.extract(platform.plan()[0]))
    page = sorted(Path(platform.settings.archive_uri).rglob("*.gz"))[1]
    whole = page.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-30] + bytes(30), b""):
        page.write_bytes(damaged)
        with pytest.raises(BadData, match=page.name):
            platform.validate(work)
    page.write_bytes(whole)
    assert platform.validate(work)["validated"][0]["rows"] == 2880


def test_an_archive_file_that_is_gone_is_not_found_by_its_name(platform: Platform) -> None:
    work = platform.archive_pages(platform.extract(platform.plan()[0]))
    page = next(Path(platform.settings.archive_uri).rglob("*.gz"))
    page.unlink()
    with pytest.raises(NotFound, match=page.name):
        platform.validate(work)


def test_a_reprocess_asks_no_venue(platform: Platform) -> None:
    platform.run("first")
    before = platform.store.bars.read()
    platform.asked.clear()
    platform.down = set(Venue)
    (yesterday, version) = (f"{NOW - timedelta(days=1):%F}", platform.store.version())
    assert platform.run("again", mode="reprocess", date=yesterday)["severity"] == "healthy"
    assert platform.asked == []
    assert platform.store.version() == version
    assert platform.store.bars.read().equals(before)


# ------------------------------------------------------------------------------------- commit


def test_a_commit_of_nothing_says_where_to_look(platform: Platform) -> None:
    with pytest.raises(NotFound, match="expected validated bars of at least one instrument, was none"):
        platform.commit([])


@pytest.mark.parametrize(("trouble", "message"), TROUBLES)
def test_a_commit_to_a_lake_in_trouble_is_one_clear_line_and_goes_well_afterwards(
    platform: Platform, trouble: str, message: str
) -> None:
    validated = platform.validated(platform.plan())
    platform.lake.root.mkdir()
    with in_trouble(trouble, platform.lake.root), pytest.raises(AutotraderError, match=message) as caught:
        platform.commit(validated)
    assert "\n" not in str(caught.value)
    assert platform.store.bars.count() == 0
    platform.commit(validated)
    assert platform.store.bars.count() == 2 * 2880


@pytest.mark.parametrize(
    ("step", "trouble", "message"),
    # The plan's own file is small enough for the last block of a full disk.
    [("plan", *TROUBLES[1]), *((s, *t) for s in ("extract", "archive_pages", "validate") for t in TROUBLES)],
)
def test_every_step_before_says_the_same_of_a_home_in_trouble(
    platform: Platform, step: str, trouble: str, message: str
) -> None:
    work = platform.plan()[0]
    if step in {"archive_pages", "validate"}:
        platform.extract(work)
    if step == "validate":
        work = platform.archive_pages(work)
    call = platform.plan if step == "plan" else lambda: getattr(platform, step)(work)
    with in_trouble(trouble, platform.settings.home), pytest.raises(AutotraderError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_staged_rows_that_are_damaged_are_bad_data_that_names_the_file(platform: Platform) -> None:
    validated = platform.validated(platform.plan())
    staged = Path(validated[0]["validated"][0]["clean"][0])
    staged.write_bytes(staged.read_bytes()[:100])
    with pytest.raises(BadData, match=staged.name):
        platform.commit(validated)
    assert platform.store.bars.count() == 0


def test_bars_of_the_instruments_that_came_are_stored_when_others_did_not(home: Path) -> None:
    platform = three_venues(home)
    platform.down = {Venue.IBKR, Venue.OANDA}
    platform.commit(platform.validated(platform.plan()[:2]))
    assert platform.store.bars.count() == 2 * 2880
