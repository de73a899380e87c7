"""The week's report, step by step: every figure from records, absent ones said to be absent."""

from __future__ import annotations

import email
import email.policy
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from autotrader.adapters.clocks import StandingMarketClock
from autotrader.alerts.postbox import Postbox
from autotrader.alerts.weekly import WeeklyReport, weekly_report
from autotrader.bootstrap import Container
from autotrader.command import to_plain
from autotrader.config.settings import Settings
from autotrader.data.lake import Lake
from autotrader.domain.errors import ConfigurationError, NotFound, Unreachable
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import Order, OrderStatus, OrderType, Side
from autotrader.domain.positions import ClosedTrade
from autotrader.domain.rollout import Color, RolloutState, Stage
from autotrader.domain.service_levels import ServiceLevel
from autotrader.domain.trading import Cause, TradingState
from autotrader.monitoring.ledger import LEDGER, LabelLedger
from autotrader.pipelines import weekly_steps
from autotrader.pipelines.platform_week import _PAGE
from autotrader.pipelines.weekly import week_of
from autotrader.plain import from_plain
from autotrader.ports.deployment import Rollout
from autotrader.ports.events import Event, EventType
from autotrader.ports.pipeline_runs import EndedRun
from autotrader.ports.trading import AccountState, Change, EquityPoint, Restriction
from tests.fakes.clocks import SettableClock
from tests.fakes.deployment import InMemoryDeploymentRecords
from tests.fakes.events import InMemoryEventLog
from tests.fakes.mail import InMemoryMailServer
from tests.fakes.trading import InMemoryTradingRecords
from tests.unit.pipelines.test_summary_steps import STATE

END = datetime(2024, 3, 3, 18, tzinfo=UTC)  # a Sunday
NOW = END + timedelta(minutes=5)
BTC, ETH = (InstrumentId(Venue.BINANCE, symbol) for symbol in ("BTCUSDT", "ETHUSDT"))


class LiveAt(StandingMarketClock):
    """Market time of a live market."""

    @property
    def is_replay(self) -> bool:
        return False


@dataclass
class Runs:
    found: list[EndedRun] = field(default_factory=list)
    error: Exception | None = None

    def ended(self, start: datetime, end: datetime) -> Sequence[EndedRun]:
        if self.error:
            raise self.error
        return [run for run in self.found if start <= run.ended_at < end]


@dataclass
class Readings:
    ratios: dict[str, float | None] = field(default_factory=dict)
    error: Exception | None = None

    def error_ratio(self, level: ServiceLevel, at: datetime) -> float | None:
        if self.error:
            raise self.error
        assert at <= NOW
        return self.ratios.get(level.name)


@dataclass
class Platform:
    """A platform with a week behind it, and what the steps are given."""

    home: Path
    now: datetime = NOW
    is_replay: bool = False
    runs: Runs = field(default_factory=Runs)
    readings: Readings = field(default_factory=Readings)
    server: InMemoryMailServer = field(default_factory=InMemoryMailServer)
    events: InMemoryEventLog = field(default_factory=InMemoryEventLog)
    records: InMemoryTradingRecords = field(default_factory=InMemoryTradingRecords)
    deployments: InMemoryDeploymentRecords = field(default_factory=InMemoryDeploymentRecords)

    def __post_init__(self) -> None:
        self.settings = Settings(_env_file=None, home=self.home)
        self.container = Container(self.settings)
        self.lake = Lake(self.settings.lake_uri)

    def build(self, day: str | None = None) -> dict[str, Any]:
        clock = StandingMarketClock(self.now) if self.is_replay else LiveAt(self.now)
        report = weekly_steps.build_report(
            day=day,
            settings=self.settings,
            lake=self.lake,
            records=self.records,
            deployments=self.deployments,
            runs=self.runs,
            readings=self.readings,
            alerts=self.container.alerts,
            events=self.events,
            clock=clock,
            wall_clock=SettableClock(NOW),
        )
        plain: dict[str, Any] = json.loads(json.dumps(to_plain(report)))
        return plain

    def mail(self, day: str | None = None) -> list[Any]:
        postbox = Postbox(
            self.home / "mail",
            self.server,
            sender="autotrader@example.com",
            recipients=("desk@example.com",),
            clock=SettableClock(NOW),
        )
        return weekly_steps.mail_report(report=self.build(day), settings=self.settings, postbox=postbox)

    def text(self) -> str:
        message = email.message_from_bytes(self.server.delivered[-1].content, policy=email.policy.default)
        plain = message.get_body(("plain",))
        assert plain is not None
        return str(plain.get_content())

    def write(self, account: str = "main", **change: Any) -> None:
        lease = self.records.acquire(account, "trader", now=NOW, seconds=60)
        assert lease is not None
        self.records.write(lease, Change(**change))
        self.records.release(lease, now=NOW)

    def open_account(self, **fields: Any) -> None:
        state: AccountState = replace(STATE, **({"source": "live"} | fields))
        self.write(state.account, state=state)

    def health_check(self, at: datetime, health: str, *features: tuple[str, str, float | None]) -> None:
        folder = self.home / "reports" / "health" / f"{at:%Y%m%dT%H%M%S}-run"
        folder.mkdir(parents=True)
        found = [{"name": name, "severity": severity, "psi": psi} for name, severity, psi in features]
        file = folder / "verdict.json"
        file.write_text(json.dumps({"health": health, "checks": {"drift": {"figures": {"features": found}}}}))
        os.utime(file, (at.timestamp(), at.timestamp()))


def point(at: datetime, equity: int, drawdown: float = 0.0) -> EquityPoint:
    return EquityPoint("main", at, Decimal(equity), Decimal(0), drawdown, Decimal(0))


def trade(at: datetime, pnl: str, instrument: InstrumentId = BTC) -> ClosedTrade:
    one, fee = Decimal(1), Decimal("0.5")
    return ClosedTrade(
        "main", instrument, Side.BUY, one, Decimal(100), Decimal(101), fee, Decimal(pnl), at, at
    )


def order(number: int, side: Side, average: str, *, filled: str = "2") -> Order:
    at = END - timedelta(hours=number)
    return Order(
        "main",
        f"o{number}",
        "autotrader-strategy",
        BTC,
        side,
        Decimal(2),
        OrderType.MARKET,
        None,
        Decimal(100),
        False,
        at,
        at + timedelta(minutes=1),
        at,
        "",
        OrderStatus.FILLED,
        None,
        Decimal(filled),
        Decimal(average),
    )


def rollout(number: int, state: RolloutState, began: datetime, **fields: Any) -> Rollout:
    return Rollout(
        id=f"r{number}",
        strategy_id="autotrader-strategy",
        version=f"v1.{number}.0",
        previous_version=None,
        candidate=Color.GREEN,
        profile="standard",
        state=state,
        stage=Stage.CANARY,
        stage_outcome=None,
        goal=Stage.CANARY,
        revision=1,
        requested_by="quant",
        created_at=began,
        stage_since=began,
        **({"reason": "drawdown"} | fields),
    )


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    made = Platform(tmp_path)
    made.container.engine.dispose()
    return made


# ------------------------------------------------------------------------------------ weeks


@pytest.mark.parametrize(
    ("day", "now", "is_replay", "start", "end", "whole"),
    [
        (None, "2024-03-03T18:00", False, "2024-02-25T18:00", "2024-03-03T18:00", True),  # on schedule
        (None, "2024-03-03T17:59", False, "2024-02-18T18:00", "2024-02-25T18:00", True),
        (None, "2024-03-06T09:00", False, "2024-02-25T18:00", "2024-03-03T18:00", True),  # by hand
        (None, "2024-03-01T00:00", True, "2024-02-25T18:00", "2024-03-01T00:00", False),  # time stands
        ("2024-02-28", "2024-03-06T09:00", False, "2024-02-25T18:00", "2024-03-03T18:00", True),
        ("2024-03-03", "2024-03-06T09:00", False, "2024-02-25T18:00", "2024-03-03T18:00", True),
        ("2024-03-05", "2024-03-06T09:00", False, "2024-03-03T18:00", "2024-03-06T09:00", False),
    ],
)
def test_a_week_ends_on_sunday_evening(
    day: str | None, now: str, is_replay: bool, start: str, end: str, whole: bool
) -> None:
    window, is_whole = week_of(day, datetime.fromisoformat(now).replace(tzinfo=UTC), is_replay=is_replay)
    assert [f"{at:%Y-%m-%dT%H:%M}" for at in (window.start, window.end)] == [start, end]
    assert is_whole is whole


@pytest.mark.parametrize("day", ["2024-03-04", "soon"])
def test_a_week_that_has_not_begun_is_refused(day: str) -> None:
    with pytest.raises(ConfigurationError, match=r"expected a day until 2024-03-03|YYYY-MM-DD"):
        week_of(day, NOW, is_replay=False)


# ------------------------------------------------------------------------------- the account


def test_an_account_is_told_by_day_and_by_instrument_with_its_costs(platform: Platform) -> None:
    platform.open_account()
    monday, tuesday = datetime(2024, 2, 26, 12, tzinfo=UTC), datetime(2024, 2, 27, 12, tzinfo=UTC)
    platform.write(
        equity=(
            *(point(END - timedelta(days=7, minutes=1), 100_000), point(monday, 100_400)),
            *(point(tuesday, 100_100, 0.003), point(END - timedelta(minutes=1), 100_700), point(NOW, 1)),
        ),
        trades=(
            *(trade(monday, "30"), trade(tuesday, "-10", ETH), trade(tuesday, "5")),
            *(trade(END - timedelta(days=8), "999"), trade(NOW, "999")),
        ),
        orders=(order(1, Side.BUY, "101"), order(2, Side.SELL, "99.5"), order(3, Side.BUY, "0", filled="0")),
    )
    (account,) = platform.build()["accounts"]
    assert (account["pnl"], account["equity"]) == ("700", "100700")
    assert account["max_drawdown"] == pytest.approx(300 / 100_400)
    assert (account["trades"], account["wins"], account["win_rate"]) == (3, 2, pytest.approx(2 / 3))
    assert (account["realised"], account["fees"]) == ("25", "1.5")
    # Bought 2 at 1 above, sold 2 at 0.5 below what was seen.
    assert (account["slippage"], account["orders_filled"]) == ("3.0", 2)
    assert [(d["day"], d["pnl"], d["trades"], d["wins"]) for d in account["days"]] == [
        ("2024-02-26", "400", 1, 1),
        ("2024-02-27", "-300", 2, 1),
        ("2024-03-03", "600", 0, 0),
    ]
    assert sum(Decimal(d["pnl"]) for d in account["days"]) == Decimal(account["pnl"])
    by_instrument = [(i["instrument"], i["trades"], i["pnl"]) for i in account["instruments"]]
    assert by_instrument == [("binance:BTCUSDT", 2, "35"), ("binance:ETHUSDT", 1, "-10")]
    assert account["sharpe"] is not None  # a week of minutes, most of them flat
    assert platform.build()["market"]["end"].startswith("2024-03-03T18:00")


def test_a_bar_that_closes_at_midnight_is_of_the_day_that_ends(platform: Platform) -> None:
    platform.open_account()
    midnight = datetime(2024, 2, 28, tzinfo=UTC)
    platform.write(equity=(point(midnight - timedelta(hours=1), 100_000), point(midnight, 100_050)))
    (account,) = platform.build()["accounts"]
    assert [(d["day"], d["pnl"]) for d in account["days"]] == [("2024-02-27", "50")]


def test_an_account_without_a_bar_in_the_week_has_no_figures(platform: Platform) -> None:
    platform.open_account()
    platform.write(equity=(point(END - timedelta(days=9), 100_000),))
    (account,) = platform.build()["accounts"]
    absent = ("pnl", "equity", "sharpe", "max_drawdown", "win_rate", "profit_factor", "slippage", "turnover")
    assert {account[name] for name in absent} == {None}
    platform.mail()
    text = platform.text()
    assert "no equity recorded" in platform.server.delivered[0].content.decode().replace("=\r\n", "")
    assert "Sharpe, annualised    –" in text


def test_amounts_in_several_currencies_are_not_added_up(platform: Platform) -> None:
    platform.open_account(cash={"USDT": Decimal(1), "EUR": Decimal(1)})
    platform.write(trades=(trade(END - timedelta(hours=1), "30"),), orders=(order(1, Side.BUY, "101"),))
    (account,) = platform.build()["accounts"]
    assert (account["realised"], account["fees"], account["slippage"]) == (None, None, None)
    assert "EUR" in account["notes"][0]


# ------------------------------------------------------------------------------ the platform


def test_nothing_that_was_not_measured_is_shown_as_a_number(platform: Platform) -> None:
    platform.runs.error = Unreachable("Airflow at http://127.0.0.1:8080 did not answer")
    platform.readings.error = Unreachable("Prometheus at http://127.0.0.1:9090 did not answer")
    platform.mail()
    text = platform.text()
    for said in (
        "No account has traded.",
        "No prediction for a bar of the week has a matured label.",
        "No health check of the week is in the folder of reports.",
        "None began.",
        "Not known: Airflow at http://127.0.0.1:8080 did not answer",
        "Not known: Prometheus at http://127.0.0.1:9090 did not answer",
        "Nothing stands out.",
    ):
        assert said in text, said


def test_models_are_judged_by_the_labels_that_matured(platform: Platform) -> None:
    at = END - timedelta(days=1)
    rows = [
        {
            "venue": "binance", "instrument": "BTCUSDT", "interval": "1m", "ts": at + timedelta(minutes=n),
            "version": "v1.0.0", "rule": "forward_return", "replayed": n < 2, "p_down": 0.1, "p_flat": 0.2,
            "p_up": 0.7, "label": 1 if n < 3 else -1, "forward_return": 0.0, "matured_at": at,
        }
        for n in range(4)
    ]  # fmt: skip
    rows.append(rows[0] | {"ts": END + timedelta(minutes=1), "label": -1})  # of the next week
    table = platform.lake.table("matured_predictions", LEDGER, row_key=("ts", "version", "rule"))
    table.upsert([pl.DataFrame(rows, schema=LEDGER)], commit_key="test")
    assert LabelLedger(platform.lake).matured(END - timedelta(days=7), END).height == 4
    (line,) = platform.build()["models"]
    assert (line["version"], line["rows"], line["replayed"], line["accuracy"]) == ("v1.0.0", 4, 2, 0.75)
    assert line["mean_confidence"] == pytest.approx(0.7)


def test_drift_is_counted_over_the_checks_of_the_week(platform: Platform) -> None:
    platform.health_check(
        END - timedelta(hours=2), "critical", ("rsi_14", "critical", 0.7), ("spread", "healthy", 0)
    )
    platform.health_check(END - timedelta(hours=1), "warning", ("rsi_14", "warning", 0.25))
    platform.health_check(END - timedelta(days=8), "critical", ("old", "critical", 9.0))
    report = platform.build()
    drift = report["drift"]
    assert (drift["checks"], drift["critical"], drift["warning"]) == (2, 1, 1)
    assert drift["moved"] == [{"name": "rsi_14", "warnings": 1, "criticals": 1, "psi": 0.7}]
    assert "critical drift: rsi_14" in report["look_at"]


def test_a_feature_without_a_psi_has_none_in_the_report(platform: Platform) -> None:
    platform.health_check(END - timedelta(hours=1), "warning", ("spread", "warning", None))
    report = platform.build()
    assert report["drift"]["moved"] == [{"name": "spread", "warnings": 1, "criticals": 0, "psi": None}]
    letter = weekly_report(from_plain(WeeklyReport, report))
    assert "highest PSI –" in letter.text


def test_in_a_flood_the_oldest_critical_alert_is_told_first(platform: Platform) -> None:
    first = END - timedelta(days=1)

    def raise_alert(name: str, severity: str, at: datetime) -> None:
        event = Event(name, EventType.ALERT, severity, "m", "a", at, data={"alert": name})
        platform.container.events.record(event)

    raise_alert("Worst", "critical", first)
    platform.container.alerts.take_up(first)
    for number in range(_PAGE + 1):
        raise_alert(f"Alert{number}", "warning", END)
    while platform.container.alerts.take_up(END):
        pass
    assert platform.build()["alerts"][0]["name"] == "Worst"


@pytest.mark.parametrize("error", [NotFound("no environment"), ConfigurationError("no credentials")])
def test_whatever_keeps_runs_from_being_read_the_rest_is_told(platform: Platform, error: Exception) -> None:
    platform.runs.error = error
    report = platform.build()
    assert report["pipelines_missing"] == f"Not known: {error}"


def test_rollouts_pipelines_budgets_and_alerts_are_told_and_pointed_at(platform: Platform) -> None:
    began = END - timedelta(days=2)
    event = Event("k", EventType.DEPLOYMENT, "info", "m", "a", began)
    first = platform.deployments.begin(rollout(1, RolloutState.WORKING, began), event)
    moved = replace(first, state=RolloutState.ROLLING_BACK, is_faulty=True)
    platform.deployments.change(first, moved, replace(event, key="k2"))
    platform.runs.found = [
        *(EndedRun("data_pipeline", str(n), n > 1, END - timedelta(days=n)) for n in range(1, 7)),
        EndedRun("training_pipeline", "old", False, END - timedelta(days=8)),
    ]
    platform.readings.ratios = {"availability": 0.0009, "pipeline_success": 0.01, "data_freshness": None}
    raised = END - timedelta(hours=3)
    platform.events.record(Event("alert/1", EventType.ALERT, "critical", "m", "a", raised))
    alert = Event(
        "alert/2", EventType.ALERT, "critical", "disk is full", "a", raised, data={"alert": "DiskFull"}
    )
    platform.container.events.record(alert)
    platform.container.alerts.take_up(raised)
    report = platform.build()
    (line,) = report["pipelines"]
    assert (line["dag_id"], line["succeeded"], line["failed"]) == ("data_pipeline", 5, 1)
    budgets = {level["name"]: level["budget_left"] for level in report["levels"]}
    assert budgets["availability"] == pytest.approx(0.1)
    assert (budgets["data_freshness"], budgets["prediction_latency"]) == (None, None)
    assert report["raised"] == {"critical": 1}
    assert [alert["name"] for alert in report["alerts"]] == ["DiskFull"]
    assert report["look_at"] == [
        "DiskFull is open: disk is full",
        "v1.1.0 was taken back for what it did: drawdown",
        "availability: 10% of the error budget of 30 days is left",
        "data_pipeline failed 1 of 6 runs",
    ]
    platform.mail()
    assert "not measured" in platform.text()


def test_what_an_account_needs_looked_at_comes_first(platform: Platform) -> None:
    reason = Restriction(Cause.DRAWDOWN, TradingState.HALTED, "drawdown: 15.01 %", NOW, "risk")
    platform.open_account(restrictions=(reason,))
    at = END - timedelta(hours=2)
    platform.write(
        equity=(point(at, 100_000), point(at + timedelta(minutes=1), 80_000, 0.2)),
        trades=(trade(at, "-1"), trade(at + timedelta(seconds=1), "-1")),
    )
    found = platform.build()["look_at"]
    assert found[0].startswith("main is halted")
    assert "main fell 20.0% from its peak, more than 10%" in found
    assert "0% of the 2 trades of main earned, less than 50%" in found


# --------------------------------------------------------------------------------- the mail


def test_a_week_is_mailed_once_and_its_page_is_on_disk(platform: Platform) -> None:
    platform.open_account()
    platform.write(
        equity=(point(END - timedelta(hours=2), 100_000), point(END - timedelta(hours=1), 100_500))
    )
    for _ in range(2):
        (posted,) = platform.mail()
        assert posted.key == "weekly-report-2024-03-03"
    assert len(platform.server.delivered) == 1
    message = email.message_from_bytes(platform.server.delivered[0].content, policy=email.policy.default)
    assert message["Subject"] == "week to 2024-03-03: +500.00 USD, 0 trades, 0 things to look at"
    assert [part.get_content_type() for part in message.walk()][-1] == "image/png"
    page = (platform.home / "reports/weekly/weekly-report-2024-03-03.html").read_text()
    assert "data:image/png;base64," in page
    assert "cid:" not in page


def test_a_report_that_was_asked_for_early_does_not_stand_in_for_the_weeks(platform: Platform) -> None:
    platform.now = END - timedelta(hours=1)
    platform.mail(day="2024-03-03")
    assert "The week is not over." in platform.text()
    platform.now = NOW
    platform.mail()
    assert len(platform.server.delivered) == 2


def test_where_market_time_stands_the_world_has_its_own_seven_days(platform: Platform) -> None:
    platform.is_replay = True
    platform.now = datetime(2023, 5, 5, tzinfo=UTC)
    report = platform.build()
    assert report["market"]["end"].startswith("2023-05-05")
    assert report["world"]["end"].startswith("2024-03-03")
    platform.open_account(source="SIMULATED")
    platform.mail()
    assert "SIMULATED DATA" in platform.text()
    assert "by the wall clock" in platform.text()
