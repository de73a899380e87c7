"""Lists as JSON: what our own records hold is written as the bodies say, without being checked first.

A body for each row takes longer than reading the row from the database. Here the fields of all rows are
written one field after the other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints

import msgspec
from pydantic import BeforeValidator
from starlette.responses import Response

from autotrader.apps.api.bodies import Body, digits

_JSON = msgspec.json.Encoder()

Writer = Callable[[Any], Any]


def rows_of(kind: type[Body], values: Sequence[object]) -> list[Any]:
    """What `encode` writes as `kind` would be, of values that have its fields as attributes.

    Parameters
    ----------
    kind : type of Body
        Its fields are single values; none is a body.
    """
    return _shape(kind)(values)


def encode(value: object) -> bytes:
    """As JSON; times in RFC 3339, what is no finite number as null."""
    return _JSON.encode(value)


def answer(content: bytes | str) -> Response:
    """The answer that is this JSON."""
    return Response(content, media_type="application/json")


@functools.cache
def _shape(kind: type[Body]) -> Callable[[Sequence[object]], list[Any]]:
    names, hints = list(kind.model_fields), get_type_hints(kind, include_extras=True)
    read, row = attrgetter(*names), msgspec.defstruct(kind.__name__, names)
    writers = [_writer(hints[name]) for name in names]

    def rows(values: Sequence[object]) -> list[Any]:
        columns = zip(*map(read, values), strict=True)
        written = [c if w is None else map(w, c) for c, w in zip(columns, writers, strict=bool(values))]
        return list(map(row, *written)) if values else []

    return rows


def _writer(hint: Any) -> Writer | None:
    """What makes a field's value one that JSON has; None where it is one already."""
    kind, *said = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if kind is Decimal:
        return digits
    if isinstance(kind, type) and issubclass(kind, Body):
        raise TypeError(f"expected a field of a single value, was {kind.__name__}")
    for before in said:
        if isinstance(before, BeforeValidator):
            return cast("Writer", before.func)
    parts = [writer for part in get_args(kind) if (writer := _writer(part))]
    return _or_none(parts[0]) if parts else None


def _or_none(writer: Writer) -> Writer:
    return lambda value: None if value is None else writer(value)
