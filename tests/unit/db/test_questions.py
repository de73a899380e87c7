"""A question has the answers that SQLAlchemy gives to its statement, in less time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from autotrader.db.columns import Exact, Instrument, Json, JsonOf, Key, OptionalJson, Utc, Word
from autotrader.db.engine import open_database, reading
from autotrader.db.questions import Question
from autotrader.domain.instruments import InstrumentId, Venue
from tests.services import fresh_database


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


AT = datetime(2024, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
KINDS = sa.Table(
    "kinds",
    sa.MetaData(),
    sa.Column("id", Key, primary_key=True),
    sa.Column("at", Utc),
    sa.Column("colour", Word(Colour)),
    sa.Column("amount", Exact),
    sa.Column("instrument", Instrument),
    sa.Column("data", Json),
    sa.Column("perhaps", OptionalJson),
    sa.Column("numbers", JsonOf(lambda found: tuple(found or ()))),
    sa.Column("yes", sa.Boolean),
    sa.Column("day", sa.Date),
    sa.Column("ratio", sa.Double),
    sa.Column("many", sa.BigInteger),
)
FULL: dict[str, Any] = {
    "at": AT,
    "colour": Colour.BLUE,
    "amount": Decimal("-12345678901234567890.12345678"),
    "instrument": InstrumentId(Venue.OANDA, "EUR_USD"),
    "data": {"x": [1, None, 0.1 + 0.2, "é%s"]},
    "perhaps": None,
    "numbers": [1, 2],
    "yes": True,
    "day": date(2024, 2, 29),
    "ratio": 0.1 + 0.2,
    "many": 2**62,
}
EMPTY: dict[str, Any] = dict.fromkeys(FULL) | {"data": [], "numbers": []}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def engine(request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(fresh_database(request.param, Path(folder)))
        with engine.begin() as connection:
            KINDS.create(connection)
            rows = [
                {"id": f"{k}"} | (EMPTY if k % 3 == 2 else FULL | {"at": AT + k * timedelta(days=1)})
                for k in range(7)
            ]
            connection.execute(sa.insert(KINDS), rows)
        yield engine
        with engine.begin() as connection:
            KINDS.drop(connection)
        engine.dispose()


def given(name: str) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=KINDS.c[name].type)


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        (sa.select(KINDS).order_by(KINDS.c.id), {}),
        (sa.select(KINDS).where(KINDS.c.at >= given("at")), {"at": AT + timedelta(days=3)}),
        (sa.select(KINDS).where(KINDS.c.colour == given("colour")), {"colour": Colour.BLUE}),
        (sa.select(KINDS).where(KINDS.c.colour == given("colour")), {"colour": Colour.RED}),
        (sa.select(KINDS).where(KINDS.c.instrument == given("instrument")), FULL),
        (sa.select(KINDS.c.ratio).where(KINDS.c.yes, KINDS.c.colour == Colour.BLUE), {}),
        (sa.select(KINDS.c.id).where(KINDS.c.id.like("%1%") | KINDS.c.at.is_(None)), {}),
        (sa.select(sa.func.count(), sa.func.max(KINDS.c.at)), {}),
        (
            sa.select(KINDS.c.id, KINDS.c.amount)
            .order_by(KINDS.c.id)
            .limit(sa.bindparam("limit", type_=sa.Integer))
            .offset(sa.bindparam("offset", type_=sa.Integer)),
            {"limit": 2, "offset": 3},
        ),
    ],
)
def test_it_answers_as_sqlalchemy_does(
    engine: sa.Engine, statement: sa.Select[Any], values: dict[str, Any]
) -> None:
    question = Question(statement, lambda *row: row)
    wanted = {name: value for name, value in values.items() if f":{name}" in str(statement)}
    with reading(engine) as connection:
        expected = [tuple(row) for row in connection.execute(statement, wanted)]
        for _ in range(2):  # the first learns how columns are read
            assert question.all(connection, **wanted) == expected
        assert question.first(connection, **wanted) == (expected[0] if expected else None)


def test_what_is_kept_comes_back(engine: sa.Engine) -> None:
    question = Question(sa.select(KINDS).where(KINDS.c.id == given("id")), lambda *row: row)
    with reading(engine) as connection:
        found = question.first(connection, id="0")
    assert found == ("0", *(FULL | {"numbers": (1, 2)}).values())


def test_a_word_that_means_nothing_is_no_answer(engine: sa.Engine) -> None:
    shown = sa.type_coerce(sa.literal("green"), Word(Colour)).label("colour")
    with reading(engine) as connection, pytest.raises(ValueError, match="green"):
        Question(sa.select(shown), Colour).first(connection)


def test_a_value_that_is_not_given_and_a_list_of_any_length_are_refused(engine: sa.Engine) -> None:
    lacking = Question(sa.select(KINDS).where(KINDS.c.id == given("id")), tuple)
    several = Question(sa.select(KINDS).where(KINDS.c.id.in_(["1", "2"])), tuple)
    with reading(engine) as connection:
        with pytest.raises(KeyError, match="id"):
            lacking.all(connection)
        with pytest.raises(TypeError, match="without IN"):
            several.all(connection)
