"""How long the database takes, for whoever counts it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

OTHER = "other"
_OPERATIONS = frozenset({"select", "insert", "update", "delete"})


def observe_statements(engine: Engine, observe: Callable[[str, float], None]) -> None:
    """Tell of each statement that was carried out.

    Parameters
    ----------
    engine : Engine
    observe : Callable
        Told what it was (select, insert, update, delete, other), and the seconds until its first row.
    """

    def begin(*arguments: Any) -> None:
        context = arguments[4]
        if context is not None:
            context.autotrader_begun = time.perf_counter()

    def end(*arguments: Any) -> None:
        statement, context = arguments[2], arguments[4]
        begun = getattr(context, "autotrader_begun", None)
        if begun is not None:
            word = statement.lstrip()[:6].lower()
            observe(word if word in _OPERATIONS else OTHER, time.perf_counter() - begun)

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", end)
