"""From JSON's own types back to a typed value: the inverse of `autotrader.command.to_plain`."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from autotrader.domain.errors import BadData

T = TypeVar("T")


def from_plain(kind: type[T], plain: Any) -> T:
    """The dataclass that `to_plain` made this of.

    Raises
    ------
    BadData
        If it is not one, as when it was written by another version; the first difference is named.
    """
    try:
        return TypeAdapter(kind).validate_python(plain)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or kind.__name__
        raise BadData(f"expected a {kind.__name__}, was not one at {where}: {first['msg']}") from error
