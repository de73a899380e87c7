"""The load after the close and the mail of the day, in a running Airflow."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from autotrader.data.bars import BarStore
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.trading import RunStatus
from autotrader.ports.trading import AccountState, Change, EquityPoint
from tests.integration.conftest import END, Platform

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

AAPL = InstrumentId(Venue.IBKR, "AAPL")


def open_account(platform: Platform) -> None:
    """An account that earned 500 on the last market day."""
    now = datetime.now(UTC)
    records = platform.container().trading_records
    lease = records.acquire("summarised", "test", now=now, seconds=60)
    assert lease is not None
    equity = Decimal(100_000)
    state = AccountState(
        account="summarised",
        strategy_id="autotrader-strategy",
        venue="paper",
        status=RunStatus.STOPPED,
        heartbeat_at=now,
        started_at=now,
        owner="test",
        source="SIMULATED",
        base_currency="USD",
        initial_equity=equity,
        peak_equity=equity,
        day_start_equity=equity,
        equity=equity + 500,
    )
    points = tuple(
        EquityPoint("summarised", END - timedelta(hours=hours), equity + gained, equity, 0.0, Decimal(gained))
        for hours, gained in ((30, 0), (3, 500))
    )
    records.write(lease, Change(state=state, equity=points))
    records.release(lease, now=now)


def test_after_the_close_equity_bars_are_loaded_by_a_run_of_the_data_pipeline(platform: Platform) -> None:
    platform.api.unpause("data_pipeline")
    run, tasks = platform.trigger("close_of_market", {"day": "2024-02-29"})
    assert run.state == "success", platform.why(run)
    assert [t.state for t in tasks["load_equity_bars"]] == ["success"]
    container = platform.container()
    bars = BarStore(container.lake, container.holds).read(
        [AAPL],
        interval=Interval.M1,
        start=datetime(2024, 2, 29, tzinfo=UTC),
        end=END,
    )
    assert bars.height == 390  # minutes of a session


def test_on_a_holiday_nothing_is_loaded_and_the_run_is_well(platform: Platform) -> None:
    run, tasks = platform.trigger("close_of_market", {"day": "2024-02-19"})
    assert run.state == "success"
    assert [t.state for t in tasks["load_equity_bars"]] == ["skipped"]


def test_the_days_mail_is_made_from_the_records_and_kept_where_there_is_no_server(platform: Platform) -> None:
    open_account(platform)
    run, tasks = platform.trigger("daily_summary", {})
    assert run.state == "success", platform.why(run)
    assert {name: [t.state for t in of] for name, of in tasks.items()} == {
        name: ["success"] for name in ("check_market_day", "build_summary", "mail_summary", "forget_old")
    }
    file = platform.settings.home / "mail/daily-summary-summarised-2024-02-29.eml"
    mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert mail["Subject"] == "[SIMULATED] summarised on 2024-02-29: +500.00 USD, 0 trades"


def test_on_a_day_without_a_session_there_is_no_mail(platform: Platform) -> None:
    run, tasks = platform.trigger("daily_summary", {"day": "2024-02-25"})
    assert run.state == "success"
    assert {t.state for of in tasks.values() for t in of} == {"skipped"}


def test_the_weeks_report_is_mailed_and_says_what_could_not_be_read(platform: Platform) -> None:
    run, tasks = platform.trigger("weekly_report", {"day": "2024-02-29"})
    assert run.state == "success", platform.why(run)
    assert {name: [t.state for t in of] for name, of in tasks.items()} == {
        "build_report": ["success"],
        "mail_report": ["success"],
    }
    (file,) = (platform.settings.home / "mail").glob("weekly-report-*.eml")
    mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    plain = mail.get_body(("plain",))
    assert plain is not None
    text = plain.get_content()
    assert "close_of_market: " in text  # of Airflow itself
    assert "Not known: Prometheus at http://127.0.0.1:" in text
    assert (platform.settings.home / "reports/weekly" / f"{file.stem}.html").exists()
