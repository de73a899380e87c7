"""Rows of tables whose columns are the fields of a dataclass."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import sqlalchemy as sa


def select_fields(table: sa.Table, kind: type) -> sa.Select[Any]:
    """The columns that are the dataclass's fields, in their order: `kind(*row)` is the value."""
    return sa.select(*(table.c[field.name] for field in fields(kind)))


def names_of(kind: Any) -> tuple[str, ...]:
    """The columns of `row_of` a value of the dataclass, in their order."""
    # Not `fields(kind)`, which takes longer than all the rest.
    return tuple(kind.__dataclass_fields__)


def row_of(value: Any) -> dict[str, Any]:
    """The dataclass's fields as a row."""
    return {name: getattr(value, name) for name in names_of(value)}
