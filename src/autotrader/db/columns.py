"""What the columns of the tables hold, and how each database stores it.

Times are UTC with microseconds. Decimals are exact: NUMERIC in PostgreSQL, text in SQLite, whose own
numbers are floats; so they are never compared or ordered in SQL. JSON columns hold plain JSON
(PostgreSQL: jsonb), never NaN.
"""

from __future__ import annotations

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

METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Json = sa.JSON().with_variant(JSONB(), "postgresql")
# SQLite numbers rows by itself only where the key is of its own INTEGER type.
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# Text that rows are ordered by: by code point everywhere, not as the server's language has it.
Key = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


class Utc(sa.types.TypeDecorator[datetime]):
    """An instant; refuses one that is not UTC, which SQLite would silently take for UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: sa.Dialect) -> datetime | None:
        return None if value is None else require_utc(value)

    def process_result_value(self, value: datetime | None, _: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Word(sa.types.TypeDecorator[E], Generic[E]):
    """One of the words of an enumeration, as text."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, kind: type[E]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: E | None, _: sa.Dialect) -> str | None:
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: str | None, _: sa.Dialect) -> E | None:
        return None if value is None else self.kind(value)


class Exact(sa.types.TypeDecorator[Decimal]):
    """A decimal number that comes back as it was; refuses NaN and infinity."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        return dialect.type_descriptor(sa.Numeric() if dialect.name == "postgresql" else sa.Text())

    def process_bind_param(self, value: Decimal | None, dialect: sa.Dialect) -> Decimal | str | None:
        if value is None:
            return None
        if not value.is_finite():
            raise ValueError(f"expected a finite decimal, was {value}")
        return value if dialect.name == "postgresql" else str(value)

    def process_result_value(self, value: Decimal | str | None, _: sa.Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class Instrument(sa.types.TypeDecorator[InstrumentId]):
    """`venue:symbol`."""

    impl = Key
    cache_ok = True

    def process_bind_param(self, value: InstrumentId | None, _: sa.Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, _: sa.Dialect) -> InstrumentId | None:
        return None if value is None else InstrumentId.parse(value)


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
