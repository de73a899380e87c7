"""What the steps share: where files of a run lie, how work is grouped, how a conf is read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import TypeVar

from autotrader.config.settings import Settings
from autotrader.domain.errors import ConfigurationError
from autotrader.ports.places import Place, Places

T = TypeVar("T")


def staging_of(places: Places, settings: Settings, dag_id: str, run_key: str) -> Place:
    """Folder of a run's intermediate files; safe to delete when the run has ended."""
    return places(settings.staging_uri) / dag_id / run_key


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
