"""What the columns of the tables hold, and how each database stores it.

Times are UTC with microseconds. Decimals are exact: NUMERIC in PostgreSQL, text in SQLite, whose own
numbers are floats; so they are never compared or ordered in SQL. JSON columns hold plain JSON
(PostgreSQL: jsonb), never NaN.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from autotrader.command import to_plain
from autotrader.domain.bars import require_utc
from autotrader.domain.instruments import InstrumentId

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")
Processor = Callable[[Any], Any]

# Columns read and written by the thousand are turned into values and back by one function each
# (`result_processor`, `bind_processor`), where `process_result_value` would be the second of two.

METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Json = sa.JSON().with_variant(JSONB(), "postgresql")
# Of a column that may be empty: without a value it is NULL, not JSON's null.
OptionalJson = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
# SQLite numbers rows by itself only where the key is of its own INTEGER type.
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# Text that rows are ordered by: by code point everywhere, not as the server's language has it.
Key = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


class Utc(sa.types.TypeDecorator[datetime]):
    """An instant; refuses one that is not UTC, which SQLite would silently take for UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: sa.Dialect) -> Processor:
        return _text_of_utc if dialect.name == "sqlite" else _required_utc

    def result_processor(self, dialect: sa.Dialect, _: object) -> Processor:
        return _utc_of_text if dialect.name == "sqlite" else _utc


def _text_of_utc(value: datetime | None) -> str | None:
    # As SQLAlchemy's own DateTime writes it, in a sixth of the time.
    return None if value is None else require_utc(value).replace(tzinfo=None).isoformat(" ", "microseconds")


def _required_utc(value: datetime | None) -> datetime | None:
    return None if value is None else require_utc(value)


def _utc_of_text(text: str | None) -> datetime | None:
    # Appended rather than replaced: that makes a second object of each.
    return None if text is None else datetime.fromisoformat(text + "+00:00")


def _utc(value: datetime | None) -> datetime | None:
    return None if value is None else value.astimezone(UTC)


class Word(sa.types.TypeDecorator[E], Generic[E]):
    """One of the words of an enumeration, as text."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, kind: type[E]) -> None:
        super().__init__()
        self.kind = kind

    def bind_processor(self, _: sa.Dialect) -> Processor:
        return _Written(self.kind).__getitem__

    def result_processor(self, _: sa.Dialect, __: object) -> Processor:
        return _Words(self.kind).__getitem__


class _Written(dict[StrEnum | None, str | None]):
    """Words by their members, as `_Words` the other way round."""

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__({None: None} | {member: member.value for member in kind})
        self.kind = kind

    def __missing__(self, word: str) -> str:
        return self.kind(word).value


class _Words(dict[str | None, StrEnum | None]):
    """Members by their words, which takes a third of the time of calling the enumeration."""

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__({None: None} | {member.value: member for member in kind})
        self.kind = kind

    def __missing__(self, word: str) -> StrEnum:
        return self.kind(word)


class Exact(sa.types.TypeDecorator[Decimal]):
    """A decimal number that comes back as it was; refuses NaN and infinity."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        return dialect.type_descriptor(sa.Numeric() if dialect.name == "postgresql" else sa.Text())

    def bind_processor(self, dialect: sa.Dialect) -> Processor:
        return _finite if dialect.name == "postgresql" else _text_of_finite

    def result_processor(self, dialect: sa.Dialect, _: object) -> Processor | None:
        return None if dialect.name == "postgresql" else _decimal  # psycopg makes decimals itself


def _finite(value: Decimal | None) -> Decimal | None:
    if value is not None and not value.is_finite():
        raise ValueError(f"expected a finite decimal, was {value}")
    return value


def _text_of_finite(value: Decimal | None) -> str | None:
    return None if value is None else str(_finite(value))


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


class Instrument(sa.types.TypeDecorator[InstrumentId]):
    """`venue:symbol`."""

    impl = Key
    cache_ok = True

    def bind_processor(self, _: sa.Dialect) -> Processor:
        return _text

    def result_processor(self, _: sa.Dialect, __: object) -> Processor:
        return _instrument


def _text(value: object) -> str | None:
    return None if value is None else str(value)


@functools.lru_cache(maxsize=4_096)
def _instrument(text: str | None) -> InstrumentId | None:
    return None if text is None else InstrumentId.parse(text)


class JsonOf(sa.types.TypeDecorator[T], Generic[T]):
    """A value as JSON, made by `to_plain`.

    Parameters
    ----------
    read : Callable
        The value again, of its JSON.
    """

    impl = Json
    cache_ok = True

    def __init__(self, read: Callable[[Any], T]) -> None:
        super().__init__()
        self.read = read

    def process_bind_param(self, value: T | None, _: sa.Dialect) -> Any:
        return to_plain(value)

    def process_result_value(self, value: Any, _: sa.Dialect) -> T:
        return self.read(value)


def required(name: str, kind: Any, *constraints: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, *constraints, nullable=False)
