"""A small platform of files, and its settings."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from autotrader.config.settings import Settings, load_settings
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.ports.events import Event, EventType


def add_rows(settings: Settings, *names: str) -> None:
    engine = open_database(settings.database_url)
    for name in names:
        SqlEventLog(engine).record(Event(name, EventType.TRADE, "info", name, "me", datetime.now(UTC)))
    engine.dispose()


def keys(url: str) -> set[str]:
    engine = open_database(url)
    try:
        return {event.key for event in SqlEventLog(engine).recent(type=EventType.TRADE)}
    finally:
        engine.dispose()


def add_bars(settings: Settings, day: int) -> None:
    frame = pl.DataFrame({"instrument": ["A", "B"], "ts": [datetime(2024, 1, day, tzinfo=UTC)] * 2})
    options = {"partition_by": ["instrument"]}
    frame.write_delta(f"{settings.lake_uri}/bars", mode="append", delta_write_options=options)


@pytest.fixture
def platform(home: Path) -> Settings:
    settings = load_settings()
    add_rows(settings, "first", "second")
    open_database(settings.ledger_url).dispose()
    page = home / "archive/2024-01-01/binance/BTCUSDT/page.gz"
    page.parent.mkdir(parents=True)
    page.write_bytes(b"a page")
    add_bars(settings, 1)
    return settings
