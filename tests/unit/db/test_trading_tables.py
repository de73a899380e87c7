"""What the trader's tables keep, and how they are found again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from autotrader.db.columns import METADATA, Exact, Instrument
from autotrader.db.engine import open_database, reading
from autotrader.db.rows import select_fields
from autotrader.db.trading_tables import CONTROLS, EQUITY, ORDERS, SIGNALS, TRADES, WORKING
from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import Order, OrderStatus
from tests.services import fresh_database

NUMBERS = sa.Table("numbers", sa.MetaData(), sa.Column("at", sa.Integer), sa.Column("number", Exact))


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def engine(request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(fresh_database(request.param, Path(folder)))
        with engine.begin() as connection:
            NUMBERS.create(connection)
        yield engine
        with engine.begin() as connection:
            NUMBERS.drop(connection)
        engine.dispose()


@hypothesis_settings(max_examples=30)
@given(numbers=st.lists(st.decimals(allow_nan=False, allow_infinity=False), max_size=20))
def test_decimals_come_back_exactly(engine: sa.Engine, numbers: list[Decimal]) -> None:
    rows = [{"at": at, "number": number} for at, number in enumerate(numbers)]
    with engine.begin() as connection:
        connection.execute(sa.delete(NUMBERS))
        if rows:
            connection.execute(sa.insert(NUMBERS), rows)
        found = connection.scalars(sa.select(NUMBERS.c.number).order_by(NUMBERS.c.at)).all()
    assert found == numbers


@pytest.mark.parametrize("number", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_no_finite_number_is_refused(engine: sa.Engine, number: str) -> None:
    statement = sa.insert(NUMBERS).values(number=Decimal(number))
    with pytest.raises(sa.exc.StatementError, match="finite"), engine.begin() as connection:
        connection.execute(statement)


def test_postgresql_has_numbers_and_sqlite_has_text() -> None:
    dialects = {"postgresql": "NUMERIC", "sqlite": "TEXT"}
    for name, kind in dialects.items():
        dialect = sa.engine.url.make_url(f"{name}://").get_dialect()()
        assert Exact().compile(dialect=dialect) == kind


def test_an_instrument_is_kept_as_it_prints() -> None:
    instrument = InstrumentId(Venue.OANDA, "EUR_USD")
    dialect = sa.engine.url.make_url("sqlite://").get_dialect()()
    assert Instrument().bind_processor(dialect)(instrument) == "oanda:EUR_USD"
    assert Instrument().result_processor(dialect, None)("oanda:EUR_USD") == instrument


def test_the_index_of_working_orders_is_of_those_that_are_not_final() -> None:
    words = ", ".join(f"'{status}'" for status in OrderStatus if not status.is_final)
    assert str(WORKING) == f"status IN ({words})"


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (select_fields(ORDERS, Order).where(ORDERS.c.account == "a", WORKING), "ix_orders_working"),
        (
            sa.select(CONTROLS).where(CONTROLS.c.account == "a", CONTROLS.c.answered_at.is_(None)),
            "ix_controls_unanswered",
        ),
        (
            sa.select(ORDERS).where(ORDERS.c.account == "a").order_by(ORDERS.c.decided_at.desc()).limit(9),
            "ix_orders_account_decided_at",
        ),
        (sa.select(SIGNALS).where(SIGNALS.c.account == "a").order_by(SIGNALS.c.ts.desc()), "PRIMARY KEY"),
    ],
)
def test_the_traders_questions_are_answered_by_an_index(tmp_path: Path, query: sa.Select, index: str) -> None:
    engine = open_database(fresh_database("sqlite", tmp_path))
    statement, parameters = query.compile(engine), query.compile(engine).params
    with reading(engine) as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(parameters.values()))
        details = " ".join(row.detail for row in plan)
    assert index in details
    assert "SCAN" not in details
    assert "TEMP B-TREE" not in details


def test_rows_of_each_minute_lie_in_the_order_of_time(tmp_path: Path) -> None:
    engine = open_database(fresh_database("sqlite", tmp_path))
    made = sa.text("SELECT sql FROM sqlite_master WHERE name = :name")
    with reading(engine) as connection:
        for table, time in ((SIGNALS, "ts"), (EQUITY, "at"), (TRADES, "closed_at")):
            assert "WITHOUT ROWID" in connection.scalar(made, {"name": table.name})
            assert [column.name for column in table.primary_key][:2] == ["account", time]


def test_every_table_is_known_where_the_tables_are() -> None:
    from autotrader.db import tables

    assert tables.METADATA is METADATA
    assert {"events", "orders", "system_state", "recovery_events"} <= METADATA.tables.keys()
