"""Between steps: values as JSON, files by path."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from autotrader.config.settings import Settings
from autotrader.domain.errors import BadData, ConfigurationError

T = TypeVar("T")

KEEP_STAGING = timedelta(days=7)


def from_plain(kind: type[T], plain: Any) -> T:
    """The dataclass that `command.to_plain` made this of.

    Raises
    ------
    BadData
        If it is not one: the step before was of another version.
    """
    try:
        return TypeAdapter(kind).validate_python(plain)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or kind.__name__
        raise BadData(
            f"expected a {kind.__name__} of the step before, was not one at {where}: {first['msg']}"
        ) from error


def staging_of(settings: Settings, dag_id: str, run_key: str) -> Path:
    """Folder of a run's intermediate files; safe to delete when the run has ended."""
    return settings.home.resolve() / "staging" / dag_id / run_key


def in_groups(items: Sequence[T], *, at_most: int) -> list[list[T]]:
    """Split into groups of nearly equal size, at most that many, in order."""
    count = min(len(items), at_most)
    borders = [round(i * len(items) / count) for i in range(count + 1)] if count else [0]
    return [list(items[a:b]) for a, b in pairwise(borders)]


def read_day(text: str | None, name: str) -> date | None:
    """A date of a run's conf; None where it was left empty.

    Raises
    ------
    ConfigurationError
        If it is not one.
    """
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ConfigurationError(f"expected {name} as YYYY-MM-DD, was {text!r}") from None
