"""The day's summary and the load after the close, step by step, as their DAGs call them."""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from autotrader.adapters.clocks import StandingMarketClock
from autotrader.alerts.postbox import Postbox
from autotrader.command import to_plain
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.data.schemas import BARS, TIMESTAMP
from autotrader.db.engine import open_database
from autotrader.db.jobs import SqlJobs
from autotrader.domain.errors import ConfigurationError, Rejected, Unreachable
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import Side
from autotrader.domain.positions import ClosedTrade, Position
from autotrader.domain.trading import Cause, RunStatus, TradingState
from autotrader.pipelines import summary_steps
from autotrader.pipelines.market_day import market_day
from autotrader.pipelines.run_step import STEPS
from autotrader.ports.events import Event, EventType
from autotrader.ports.jobs import Job, JobType
from autotrader.ports.mail import MailServer
from autotrader.ports.trading import AccountState, Change, EquityPoint, Restriction, Signal
from tests.fakes.clocks import SettableClock
from tests.fakes.holds import InMemoryHolds
from tests.fakes.mail import InMemoryMailServer
from tests.fakes.market_data import made_bars
from tests.fakes.trading import InMemoryTradingRecords
from tests.services import fresh_database

AFTER_CLOSE = datetime(2024, 2, 29, 21, 30, tzinfo=UTC)  # Thursday, 16:30 in New York
OPENS = timedelta(minutes=1)
BTC, ETH = (InstrumentId(Venue.BINANCE, symbol) for symbol in ("BTCUSDT", "ETHUSDT"))
WALL = datetime(2026, 11, 21, tzinfo=UTC)


@dataclass
class Desk:
    """An account with a day behind it, and what the steps are given."""

    home: Path
    now: datetime = AFTER_CLOSE
    venues: tuple[str, ...] = ("binance",)
    server: MailServer | None = None
    records: InMemoryTradingRecords = field(default_factory=InMemoryTradingRecords)
    holds: InMemoryHolds = field(default_factory=InMemoryHolds)

    @property
    def settings(self) -> Settings:
        return Settings(
            _env_file=None,
            home=self.home,
            venues=self.venues,
            binance={"instruments": ("BTCUSDT", "ETHUSDT")},
            ibkr={"instruments": ("AAPL",)},
        )

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_uri)

    @property
    def clock(self) -> StandingMarketClock:
        return StandingMarketClock(self.now)

    @property
    def postbox(self) -> Postbox:
        return Postbox(
            self.home / "mail",
            self.server,
            sender="autotrader@example.com",
            recipients=("risk@example.com",),
            clock=SettableClock(WALL),
        )

    def write(self, **change: Any) -> None:
        lease = self.records.acquire("main", "trader", now=WALL, seconds=60)
        assert lease is not None
        self.records.write(lease, Change(**change))
        self.records.release(lease, now=WALL)

    def open_account(self, **fields: Any) -> None:
        self.write(state=replace(STATE, **fields))

    def day(self, day: str | None = None) -> Any:
        return plain(summary_steps.check_market_day(day=day, clock=self.clock))

    def build(self, day: str | None = None) -> Any:
        return plain(
            summary_steps.build_summaries(
                market_day=self.day(day),
                settings=self.settings,
                lake=self.lake,
                holds=self.holds,
                records=self.records,
            )
        )

    def summary(self) -> Mapping[str, Any]:
        (built,) = self.build()
        assert isinstance(built, dict)
        return built

    def mail(self) -> Any:
        return plain(summary_steps.mail_summaries(summaries=self.build(), postbox=self.postbox))

    def plan_close(self, day: str | None = None) -> summary_steps.PlannedClose:
        return summary_steps.plan_close(day=day, settings=self.settings, clock=self.clock)

    def watched(self, kind: str) -> list[tuple[str, str]]:
        return [(w["subject"], w["reason"]) for w in self.summary()["watch"] if w["kind"] == kind]


STATE = AccountState(
    account="main",
    strategy_id="autotrader-strategy",
    venue="paper",
    status=RunStatus.RUNNING,
    heartbeat_at=WALL,
    started_at=WALL,
    owner="trader",
    source="SIMULATED",
    base_currency="USD",
    initial_equity=Decimal(100_000),
    peak_equity=Decimal(101_000),
    day_start_equity=Decimal(100_500),
    equity=Decimal(100_700),
    cash={"USDT": Decimal(90_000)},
    cursor=AFTER_CLOSE - OPENS,
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def plain(result: object) -> Any:
    """As the next task gets it."""
    return json.loads(json.dumps(to_plain(result)))


def point(at: datetime, equity: int) -> EquityPoint:
    return EquityPoint("main", at, Decimal(equity), Decimal(0), 0.01, Decimal(0))


def trade(minutes_before: int, pnl: str, instrument: InstrumentId = BTC) -> ClosedTrade:
    at = AFTER_CLOSE - timedelta(minutes=minutes_before)
    one, fee = Decimal(1), Decimal("0.5")
    return ClosedTrade(
        "main", instrument, Side.BUY, one, Decimal(100), Decimal(101), fee, Decimal(pnl), at, at
    )


def signal(instrument: InstrumentId, score: float | None, *, minutes_before: int = 1) -> Signal:
    ts = AFTER_CLOSE - timedelta(minutes=minutes_before)
    return Signal(
        *("main", "autotrader-strategy", instrument, ts, "v1.0.0", "blue", 1, score, 0.7, 0.1),
        *(Decimal(50_000), None, "buys"),
    )


# ------------------------------------------------------------------------------------- days


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        ("2024-02-29T21:30", "2024-02-28T21:30", "2024-02-29T21:30"),  # an ordinary Thursday
        ("2024-03-04T21:30", "2024-03-01T21:30", "2024-03-04T21:30"),  # Monday has the weekend
        ("2024-03-11T20:30", "2024-03-08T21:30", "2024-03-11T20:30"),  # summer time has begun
        ("2024-07-05T20:30", "2024-07-03T20:30", "2024-07-05T20:30"),  # after Independence Day
        ("2024-02-29T23:00", "2024-02-28T21:30", "2024-02-29T21:30"),  # late: the same window
        ("2024-02-29T15:00", "2024-02-28T21:30", "2024-02-29T15:00"),  # early: what there is
    ],
)
def test_a_summary_covers_the_time_since_the_one_before(now: str, start: str, end: str) -> None:
    day = market_day(None, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert day.is_open
    assert [f"{at:%Y-%m-%dT%H:%M}" for at in (day.start, day.end)] == [start, end]


@pytest.mark.parametrize(
    ("day", "reason"),
    [
        ("2024-03-02", "the exchange has no session on Saturday, 2024-03-02"),
        ("2024-07-04", "the exchange has no session on Thursday, 2024-07-04"),
        ("2025-01-09", "the exchange has no session on Thursday, 2025-01-09"),  # day of mourning
    ],
)
def test_a_day_without_a_session_says_why(day: str, reason: str) -> None:
    found = market_day(day, datetime(2025, 6, 1, tzinfo=UTC))
    assert (found.is_open, found.reason) == (False, reason)


def test_a_day_with_an_early_close_is_a_market_day_and_says_when_it_closed() -> None:
    found = market_day("2024-11-29", datetime(2025, 6, 1, tzinfo=UTC))
    assert (found.is_open, found.reason) == (True, "the exchange closed early, at 13:00 in New York")
    assert market_day("2024-11-27", datetime(2025, 6, 1, tzinfo=UTC)).reason == ""


def test_at_night_in_london_it_is_still_the_day_before_in_new_york() -> None:
    assert market_day(None, datetime(2024, 3, 1, 2, tzinfo=UTC)).day == date(2024, 2, 29)


@pytest.mark.parametrize("day", ["2024-03-01", "yesterday"])
def test_a_day_that_has_not_begun_or_is_none_is_refused(desk: Desk, day: str) -> None:
    with pytest.raises(ConfigurationError, match=r"expected a day until 2024-02-29|YYYY-MM-DD"):
        desk.day(day)


# --------------------------------------------------------------------------- close_of_market


def test_without_equities_there_is_nothing_to_load_after_the_close(desk: Desk) -> None:
    planned = desk.plan_close()
    assert not planned.due
    assert planned.reason == "no equities are traded: ibkr is not among the venues (binance)"


def test_after_the_close_the_new_equity_bars_are_loaded(desk: Desk) -> None:
    desk.venues = ("binance", "ibkr")
    assert desk.plan_close().conf == {"mode": "incremental", "venues": ["ibkr"]}


def test_a_day_by_hand_is_loaded_whole(desk: Desk) -> None:
    desk.venues = ("ibkr",)
    assert desk.plan_close("2024-02-27").conf == {
        "mode": "backfill", "venues": ["ibkr"], "start_date": "2024-02-27", "end_date": "2024-02-27"
    }  # fmt: skip


def test_on_a_holiday_there_are_no_equity_bars(desk: Desk) -> None:
    desk.venues = ("ibkr",)
    planned = desk.plan_close("2024-02-19")
    assert (planned.due, planned.reason) == (False, "the exchange has no session on Monday, 2024-02-19")


# ----------------------------------------------------------------------------- what is in it


def test_nobody_has_traded_so_there_is_no_summary(desk: Desk) -> None:
    assert desk.build() == []


def test_pnl_is_the_change_of_equity_since_the_summary_before(desk: Desk) -> None:
    before, start = AFTER_CLOSE - timedelta(days=1, minutes=1), AFTER_CLOSE - timedelta(days=1)
    desk.open_account()
    desk.write(
        equity=(
            *(point(before - OPENS, 50_000), point(before, 100_000), point(start, 100_100)),
            *(point(AFTER_CLOSE - OPENS, 100_700), point(AFTER_CLOSE, 200_000)),
        )
    )
    summary = desk.summary()
    assert (summary["pnl"], summary["equity"]) == ("700", "100700")
    assert summary["pnl_share"] == pytest.approx(0.007)
    assert summary["notes"] == []


def test_an_account_that_began_within_the_window_says_since_when_its_pnl_is(desk: Desk) -> None:
    desk.open_account()
    desk.write(equity=(point(AFTER_CLOSE - 2 * OPENS, 100_000), point(AFTER_CLOSE - OPENS, 99_000)))
    summary = desk.summary()
    assert summary["pnl"] == "-1000"
    assert summary["notes"] == ["Equity was first recorded within this window: its PnL is since then."]


def test_without_equity_the_pnl_is_not_known(desk: Desk) -> None:
    desk.open_account()
    summary = desk.summary()
    assert (summary["equity"], summary["pnl"], summary["drawdown"]) == (None, None, None)
    assert (summary["trades"], summary["win_rate"], summary["realised"]) == (0, None, "0")


def test_trades_of_the_window_are_counted_and_the_others_are_not(desk: Desk) -> None:
    desk.open_account()
    desk.write(trades=(trade(1, "30"), trade(2, "-10", ETH), trade(24 * 60, "10"), trade(24 * 60 + 1, "999")))
    desk.write(trades=(trade(0, "999"),))
    summary = desk.summary()
    assert (summary["trades"], summary["wins"], summary["realised"]) == (3, 2, "30")
    assert summary["win_rate"] == pytest.approx(2 / 3)
    assert summary["profit_factor"] == pytest.approx(4.0)
    assert [t["pnl"] for t in summary["newest_trades"]] == ["30", "-10", "10"]


def test_more_rows_than_a_page_holds_are_all_counted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotrader.ports.trading._ROWS", 3)
    desk.open_account()
    desk.write(trades=tuple(trade(minute, "1") for minute in range(1, 10)))
    assert desk.summary()["trades"] == 9


def test_a_position_is_marked_at_the_newest_price_of_lake_or_trader(desk: Desk) -> None:
    desk.open_account()
    half = Decimal("0.5")
    desk.write(
        positions=(
            Position("main", BTC, quantity=half, cost=Decimal(20_000)),
            Position("main", ETH, quantity=-half, cost=Decimal(-1_000)),
            Position("main", InstrumentId(Venue.BINANCE, "BNBUSDT")),
        ),
        signals=(signal(BTC, 0.1), signal(ETH, 0.1, minutes_before=60)),
    )
    bars = made_bars(Venue.BINANCE, "ETHUSDT", AFTER_CLOSE - timedelta(hours=1), AFTER_CLOSE, seed=3)
    close = Decimal(str(bars["close"][-1]))
    load(desk, bars)
    btc, eth = desk.summary()["positions"]
    assert (btc["instrument"], btc["price"], btc["unrealised"]) == ("binance:BTCUSDT", "50000", "5000.0")
    assert (eth["price"], eth["priced_at"]) == (str(close), AFTER_CLOSE.isoformat())
    assert Decimal(desk.summary()["unrealised"]) == Decimal(5_000) + 1_000 - close / 2


def test_a_position_without_a_price_has_no_unrealised_pnl_and_neither_has_the_sum(desk: Desk) -> None:
    desk.open_account()
    desk.write(positions=(Position("main", BTC, quantity=Decimal(1), cost=Decimal(1)),))
    summary = desk.summary()
    assert summary["positions"][0]["unrealised"] is None
    assert summary["unrealised"] is None


def test_amounts_of_several_currencies_are_not_added_up(desk: Desk) -> None:
    desk.open_account(cash={"USDT": Decimal(1), "JPY": Decimal(1)})
    desk.write(trades=(trade(1, "30"), trade(2, "-10")))
    summary = desk.summary()
    assert (summary["realised"], summary["profit_factor"], summary["unrealised"]) == (None, None, None)
    assert summary["win_rate"] == 0.5
    assert summary["newest_trades"][0]["currency"] == ""
    assert "not all count as USD: JPY" in summary["notes"][0]


def test_the_strongest_signals_are_on_the_watch_list(desk: Desk) -> None:
    desk.open_account()
    desk.write(signals=(signal(BTC, 0.2), signal(ETH, -0.8), signal(ETH, 0.9, minutes_before=5)))
    (first, reason), (second, _) = desk.watched("signal")
    assert (first, second) == ("binance:ETHUSDT", "binance:BTCUSDT")
    assert reason == "score -0.80, confidence 70%, target +10.0% of equity: buys"


def test_a_signal_that_nobody_gave_is_not_on_the_list(desk: Desk) -> None:
    desk.open_account()
    desk.write(signals=(signal(BTC, None),))
    assert desk.watched("signal") == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"day_start_equity": Decimal(105_000)}, "4.1% of the day's equity is lost, the limit is 5.0%"),
        ({"peak_equity": Decimal(115_000)}, "12.4% below the peak, the limit is 15.0%"),
        ({"consecutive_losses": 2}, "2 losing trades in a row, 3 pause new positions"),
    ],
)
def test_a_limit_that_is_near_is_on_the_watch_list(desk: Desk, fields: dict[str, Any], said: str) -> None:
    desk.open_account()
    assert desk.watched("limit") == []
    desk.open_account(**fields, revision=1)
    assert desk.watched("limit") == [("main", said)]


def test_a_position_that_is_near_its_limit_is_on_the_watch_list(desk: Desk) -> None:
    desk.open_account()
    desk.write(
        positions=(Position("main", BTC, quantity=Decimal("-0.35"), cost=Decimal(-1)),),
        signals=(signal(BTC, 0.0),),
    )
    assert desk.watched("limit") == [("binance:BTCUSDT", "17.4% of equity, the limit is 20.0%")]


def test_bars_that_a_daily_run_missed_and_a_trader_that_lags_are_on_the_watch_list(desk: Desk) -> None:
    desk.open_account(cursor=AFTER_CLOSE - timedelta(minutes=31))
    made = (AFTER_CLOSE - timedelta(hours=26), AFTER_CLOSE - timedelta(hours=25))
    load(desk, made_bars(Venue.BINANCE, "BTCUSDT", *made, seed=1))
    trader, btc, eth = desk.watched("freshness")
    assert trader == ("main", "the trader is 30 minutes behind the market")
    assert btc == ("binance:BTCUSDT", "bars in the lake are outdated: the newest is of 2024-02-28 20:29 UTC")
    assert eth == ("binance:ETHUSDT", "bars in the lake are outdated: there is none")


def test_restrictions_a_stopped_trader_and_an_early_close_are_told(desk: Desk) -> None:
    desk.now = datetime(2024, 11, 29, 21, 30, tzinfo=UTC)
    halted = Restriction(Cause.DRAWDOWN, TradingState.HALTED, "15.01 % below the peak", WALL, "trader")
    desk.open_account(restrictions=(halted,), status=RunStatus.STOPPED)
    summary = desk.summary()
    assert (summary["state"], summary["restrictions"]) == ("halted", ["drawdown: 15.01 % below the peak"])
    assert summary["notes"] == [
        "The exchange closed early, at 13:00 in New York.",
        "The trader is stopped.",
    ]


# ------------------------------------------------------------------------------- by mail


def test_a_day_is_mailed_once_however_often_it_is_run(desk: Desk) -> None:
    desk.server = server = InMemoryMailServer()
    desk.open_account()
    (first,), (second,) = desk.mail(), desk.mail()
    assert (first["state"], second["state"]) == ("sent", "sent")
    (delivered,) = server.delivered
    mail = email.message_from_bytes(delivered.content, policy=email.policy.default)
    assert mail["Subject"] == "[SIMULATED] main on 2024-02-29: no equity recorded, 0 trades"
    assert mail["To"] == "risk@example.com"


def test_without_a_server_the_mail_is_in_the_folder_and_the_run_is_well(desk: Desk) -> None:
    desk.open_account()
    (posted,) = desk.mail()
    assert posted["state"] == "kept"
    assert Path(posted["file"]).name == "daily-summary-main-2024-02-29,risk@example.com.eml"
    assert Path(posted["file"]).exists()


def test_a_server_that_is_down_has_the_task_tried_again_and_then_the_mail_goes(desk: Desk) -> None:
    desk.server = server = InMemoryMailServer(failures=[Unreachable("no answer")])
    desk.open_account()
    with pytest.raises(Unreachable, match=r"to risk@example\.com is waiting: no answer"):
        desk.mail()
    desk.mail()
    assert len(server.delivered) == 1


def test_a_mail_that_is_refused_for_good_fails_the_task(desk: Desk) -> None:
    desk.server = InMemoryMailServer(failures=[Rejected("550 no such user")])
    desk.open_account()
    with pytest.raises(Rejected, match="is refused: 550 no such user"):
        desk.mail()


def test_old_rows_and_mails_are_deleted_and_young_ones_are_not(desk: Desk) -> None:
    desk.open_account()
    old = AFTER_CLOSE - timedelta(days=401)
    desk.write(equity=(point(old, 1), point(AFTER_CLOSE, 1)), signals=(replace(signal(BTC, 0.1), ts=old),))
    desk.mail()
    jobs = SqlJobs(open_database(fresh_database("sqlite", desk.home)), tries=1, retry_seconds=0)
    for name, ended in (("old", WALL - timedelta(days=401)), ("young", WALL)):
        asked = Event(f"job/{name}", EventType.AUDIT, "info", "asked", "tests", ended)
        jobs.ask(Job(name, JobType.BACKTEST, {}, "olga", ended), asked)
        jobs.succeed(f"job-{name}-1", {}, ended)
    forgotten = summary_steps.forget_old(
        settings=desk.settings,
        records=desk.records,
        postbox=desk.postbox,
        jobs=jobs,
        clock=desk.clock,
        wall_clock=SettableClock(WALL),
    )
    assert (forgotten.rows, forgotten.mails, forgotten.jobs) == (2, 0, 1)
    assert [job.id for job in jobs.list()] == ["young"]


def test_every_step_is_known_by_name() -> None:
    named = {name: target for name, target in STEPS.items() if name.startswith("summary.")}
    assert len(named) == 5
    assert all(hasattr(summary_steps, target.partition(":")[2]) for target in named.values())


def load(desk: Desk, bars: pl.DataFrame) -> None:
    """Put bars into the lake."""
    rows = bars.with_columns(
        known_at=pl.col("ts") + OPENS, ingested_at=pl.lit(WALL, TIMESTAMP), source=pl.lit("memory")
    )
    rows = rows.select([pl.col(name).cast(kind) for name, kind in BARS.items()])
    BarStore(desk.lake, desk.holds).upsert([rows], commit_key="test", seen_at=desk.now)
