"""Entries of log files, whoever wrote them: our JSON, Airflow's, MLflow's and Prometheus' text.

A line that begins no entry belongs to the one before it: tracebacks stay whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

from autotrader.log import fingerprint

MOST_BYTES = 16 * 2**20  # of a file, its end
MOST_LINES = 400  # of an entry: a runaway printer makes no page


class Level(IntEnum):
    """As logging has them."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40
    CRITICAL = 50


@dataclass(frozen=True, slots=True)
class Entry:
    """What a process said.

    Attributes
    ----------
    at : datetime or None
        UTC; None where the writer does not tell.
    message : str
        The first line.
    more : str
        Traceback and further lines.
    fingerprint : str
        Equal for one error, whatever values stand in it.
    """

    service: str
    at: datetime | None
    level: Level
    logger: str
    message: str
    fingerprint: str
    more: str = ""


_LEVELS = {
    **{level.name: level for level in Level},
    "WARN": Level.WARNING,
    "EXCEPTION": Level.ERROR,
    "FATAL": Level.CRITICAL,
}
_AIRFLOW = re.compile(
    r"(?P<at>\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z|[+-]\d\d:\d\d)?)\s+\[(?P<level>\w+)\s*\]\s+(?P<message>.*?)"
    r"(?:\s+\[(?P<logger>[\w.]+)\](?:\s+\w+=.*)?)?$"
)
_MLFLOW = re.compile(r"(?P<at>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) (?P<level>[A-Z]+):?\s+(?P<message>.*)$")
_UVICORN = re.compile(r"(?P<level>INFO|WARNING|ERROR|CRITICAL):\s+(?P<message>.*)$")
_LOGFMT = re.compile(r'ts=(?P<at>\S+) .*?level=(?P<level>\w+) .*?msg="?(?P<message>.*?)"?(?: \w+=.*)?$')
_FORMS = (_AIRFLOW, _MLFLOW, _LOGFMT, _UVICORN)
_TRACEBACK = "Traceback (most recent call last):"
_RAISED = re.compile(r"^[\w.]+(?:Error|Exception|Interrupt|Exit|Warning|Refused|NotFound|BadData)\b.*")


def read_entries(path: Path, service: str) -> list[Entry]:
    """Entries of the end of a file, oldest first."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - MOST_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return list(parse(lines[1:] if size > MOST_BYTES else lines, service))


def parse(lines: Iterable[str], service: str) -> Iterator[Entry]:
    """Entries of lines."""
    begun: Entry | None = None
    rest: list[str] = []
    for line in lines:
        if not line.strip():
            continue
        found = _begins(line, service)
        if found is None and begun is not None and not _is_new_fault(line, begun):
            if len(rest) < MOST_LINES:
                rest.append(line)
            continue
        if begun is not None:
            yield _ended(begun, rest)
        begun, rest = found or _untold(line, service, begun), []
    if begun is not None:
        yield _ended(begun, rest)


def _begins(line: str, service: str) -> Entry | None:
    if line.startswith("{"):
        return _of_json(line, service)
    for form in _FORMS:
        found = form.match(line)
        if found:
            parts = found.groupdict()
            level = _LEVELS.get(parts["level"].upper())
            if level is not None:
                logger = parts.get("logger") or service
                return _entry(service, _instant(parts.get("at")), level, logger, parts["message"].strip())
    return None


def _of_json(line: str, service: str) -> Entry | None:
    try:
        said: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    message = said.get("message", said.get("event"))
    level = _LEVELS.get(str(said.get("level", "")).upper())
    if message is None or level is None:
        return None
    logger, error = str(said.get("logger", service)), said.get("error")
    more = str(said.get("exception", ""))
    raised = said.get("error_detail")  # of Airflow's task logs
    if isinstance(raised, list) and raised and isinstance(raised[0], dict):
        more = f"{raised[0].get('exc_type')}: {raised[0].get('exc_value')}"
    entry = _entry(service, _instant(said.get("timestamp")), level, logger, str(message))
    known = error.get("fingerprint") if isinstance(error, dict) else None
    return replace(entry, more=more, fingerprint=str(known or entry.fingerprint))


def _is_new_fault(line: str, begun: Entry) -> bool:
    """A traceback after an entry that is no error is one by itself."""
    return line.startswith(_TRACEBACK) and begun.level < Level.ERROR


def _untold(line: str, service: str, before: Entry | None) -> Entry:
    """Something printed: an error if it is a traceback, and of the time of what came before it."""
    level = Level.ERROR if line.startswith(_TRACEBACK) else Level.INFO
    return _entry(service, before.at if before else None, level, service, line)


def _ended(entry: Entry, rest: list[str]) -> Entry:
    if not rest:
        return entry
    more = "\n".join([*([entry.more] if entry.more else []), *rest])
    if entry.message.startswith(_TRACEBACK):  # the last line says what was raised
        raised = next((line for line in reversed(rest) if _RAISED.match(line)), rest[-1])
        return replace(entry, message=raised, more=more, fingerprint=fingerprint(entry.logger, raised))
    return replace(entry, more=more)


def _entry(service: str, at: datetime | None, level: Level, logger: str, message: str) -> Entry:
    return Entry(service, at, level, logger, message, fingerprint(logger, message))


def _instant(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text.replace("/", "-"))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
