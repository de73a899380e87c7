"""Structured logs: one JSON object a line for programs, colours for people, on stderr.

    {"timestamp": ..., "level": ..., "logger": ..., "message": ..., "location": "file.py:12 function",
     what the entry and its context say (request_id, dag_id, ...),
     "performance": {"duration_ms": ...}, "error": {"type": ..., "fingerprint": ...}, "exception": ...}

Entries of one error have one fingerprint, whatever its values and wherever its lines have moved to.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TextIO

import structlog

MOST_CHARACTERS = 16_000  # of a text: a page that a venue sent is not a message
MOST_DEPTH = 6

_SECRET_WORDS = r"(?:secret|password|token|api[_-]?key|authorization|signature|cookie)"  # noqa: S105
_SECRET_NAMES = re.compile(_SECRET_WORDS, re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"((?:signature|apiKey|api_key|token|password|secret)=)[^&\s\"']+"
    r"|(Bearer\s+)[^\s\"'\\]+"
    r"|(://[^:/@\s]+:)[^@\s]+(?=@)"
    # Of JSON and of what Python prints, whole or cut off, and of JSON that is itself a string in JSON.
    rf"|((?P<quote>(?<!\\)\\*[\"'])[\w.-]{{0,64}}{_SECRET_WORDS}[\w.-]{{0,64}}(?P=quote)\s*:\s*)"
    r"(?:(?P<opened>\\+[\"']).*?(?:(?<!\\)(?P=opened)|\Z)|\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?"
    r"|\[[^\]]*\]?|\{[^}]*\}?|(?!null\b|None\b)[^\s,}\]]+)",
    re.IGNORECASE | re.DOTALL,
)
_QUIET = ("urllib3", "httpx", "httpcore", "botocore", "alembic", "ib_async", "ib_insync")
_NOT_EXTRA = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_VALUES = re.compile(r"0x[0-9a-f]+|\b[0-9a-f-]{12,}\b|\d+(?:\.\d+)?|'[^']*'|\"[^\"]*\"", re.IGNORECASE)
_SOURCE = str(Path(__file__).parent) + "/"
_STRUCTLOG = str(Path(structlog.__file__).parent) + "/"

# Filled in by `autotrader.tracing` while it is on: ids of the trace and span under way.
trace_ids: Callable[[], tuple[str, str] | None] | None = None

Fields = dict[str, Any]
Raised = tuple[type[BaseException], BaseException, TracebackType | None]


def mask_text(text: str) -> str:
    """The text with credentials in query strings, headers, URLs and JSON replaced."""
    if "=" in text or ":" in text or "bearer" in text.lower():
        return _SECRET_TEXT.sub(_masked, text)
    return text


def _masked(found: re.Match[str]) -> str:
    plain = found[1] or found[2] or found[3]
    return f"{plain}***" if plain else f"{found[4]}{found['quote']}***{found['quote']}"


def configure_logging(*, level: str, form: str) -> None:
    """Send structlog and the standard library's loggers to stderr in one form.

    Parameters
    ----------
    level : str
        `DEBUG` ... `CRITICAL`.
    form : str
        `json`, `console`, or `auto`: console where stderr is a terminal.
    """
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    render = _for_people() if console else _as_json
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(render))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in _QUIET:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    lock, stream = threading.Lock(), sys.stderr
    structlog.configure(
        # All in one: going through the standard library costs as much again as the entry itself.
        processors=[lambda logger, level, event: render(_of_structlog(logger, level, event))],
        logger_factory=lambda *name: _Writer(stream, lock, str(name[0]) if name else "root"),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )


class _Writer:
    """What structlog writes through: whole lines, one thread at a time."""

    def __init__(self, stream: TextIO, lock: threading.Lock, name: str) -> None:
        self.name = name
        self._stream = stream
        self._lock = lock

    def msg(self, line: str) -> None:
        try:
            with self._lock:
                self._stream.write(line + "\n")
                self._stream.flush()
        except (OSError, ValueError):
            # Whoever read stderr is gone: there is nobody to tell, and no reason to end what we do.
            return

    debug = info = warning = error = critical = fatal = exception = log = msg


class _Formatter(logging.Formatter):
    """Entries of the standard library's loggers, in the same form."""

    def __init__(self, render: Callable[[Fields], str]) -> None:
        super().__init__()
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in record.__dict__.items() if name not in _NOT_EXTRA}
        location = f"{_short(record.pathname)}:{record.lineno} {record.funcName}"
        raised = record.exc_info if record.exc_info and record.exc_info[0] else None
        try:
            message = record.getMessage()
        except Exception as error:  # noqa: BLE001 - a wrong format string must not lose the entry
            message = f"{record.msg} {record.args!r} ({error})"
        fields = {**structlog.contextvars.get_contextvars(), **extra}
        return self._render(
            _entry(record.levelname.lower(), record.name, message, location, fields, raised, record.msg)
        )


def _of_structlog(logger: Any, level: str, event: Mapping[str, Any]) -> Fields:
    fields = {**structlog.contextvars.get_contextvars(), **event}
    message = fields.pop("event", "")
    given = fields.pop("exc_info", None)
    fields.pop("stack_info", None)
    raised: Raised | None = None
    if given:
        if isinstance(given, BaseException):
            raised = (type(given), given, given.__traceback__)
        else:
            found = given if isinstance(given, tuple) else sys.exc_info()
            raised = found if found[0] is not None else None
    if level == "exception":
        level = "error"
    return _entry(level, logger.name, message, _location(), fields, raised, message)


def _entry(
    level: str,
    logger: str,
    message: object,
    location: str,
    fields: Fields,
    raised: Raised | Any | None,
    template: object,
) -> Fields:
    entry: Fields = {
        "timestamp": _timestamp(),
        "level": level,
        "logger": logger,
        "message": _plain("", message),
        "location": location,
    }
    for name, value in fields.items():
        if name == "duration_ms":
            entry["performance"] = {"duration_ms": _plain(name, value)}
        else:
            # What the entry itself says keeps its name, and takes none of ours.
            entry[f"{name}_" if name in entry else name] = _plain(name, value)
    if trace_ids is not None and (ids := trace_ids()) is not None:
        entry["trace_id"], entry["span_id"] = ids
    if raised is not None:
        kind, error, trace = raised
        entry["error"] = {"type": kind.__name__, "fingerprint": _fingerprint_of(kind, trace)}
        entry["exception"] = mask_text("".join(traceback.format_exception(kind, error, trace)).rstrip())
    elif level in ("error", "critical"):
        entry["error"] = {"fingerprint": fingerprint(logger, str(template))}
    return entry


def fingerprint(logger: str, message: str) -> str:
    """Of what a logger says, whatever values stand in it."""
    return _digest(logger, _VALUES.sub("#", message))


def _fingerprint_of(kind: type[BaseException], trace: TracebackType | None) -> str:
    """Of what was raised and through which functions it went; not of lines, nor of what it says."""
    way = [
        f"{_short(frame.f_code.co_filename)}:{frame.f_code.co_qualname}"
        for frame, _ in traceback.walk_tb(trace)
    ]
    return _digest(kind.__module__, kind.__qualname__, *way)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode(errors="replace")).hexdigest()[:16]


def _location() -> str:
    """Of whoever called the logger."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if not _is_logging(code.co_filename):
            return f"{_short(code.co_filename)}:{frame.f_lineno} {code.co_name}"
        frame = frame.f_back
    return "unknown"


@lru_cache(maxsize=4096)
def _is_logging(file: str) -> bool:
    return file == __file__ or file.startswith(_STRUCTLOG)


@lru_cache(maxsize=1024)
def _short(file: str) -> str:
    """The path within the package; of others, folder and file."""
    return file.removeprefix(_SOURCE) if file.startswith(_SOURCE) else "/".join(Path(file).parts[-2:])


def _timestamp() -> str:
    now = time.time_ns()
    return f"{_second(now // 1_000_000_000)}.{now // 1_000 % 1_000_000:06d}Z"


@lru_cache(maxsize=4)
def _second(since_1970: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since_1970))


@lru_cache(maxsize=4096)
def _is_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def _plain(name: str, value: object, depth: int = 0) -> object:
    """The value in JSON's own types, secrets replaced by name and inside text, however deep they lie."""
    if name and _is_secret(name):
        return "***"
    kind = type(value)
    if kind is str:
        return _text(value)  # type: ignore[arg-type]
    if kind is int or kind is bool or value is None:
        return value
    if kind is float:
        return value if math.isfinite(value) else str(value)  # type: ignore[arg-type]
    if isinstance(value, float):  # numpy's own, among others
        return _plain(name, float(value))
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if depth >= MOST_DEPTH:
            return "..."
        if isinstance(value, Mapping):
            return {_shown(k): _plain(_shown(k), v, depth + 1) for k, v in value.items()}
        return [_plain("", v, depth + 1) for v in value]
    return _text(_shown(value))


def _text(text: str) -> str:
    return mask_text(text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}...")


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - whatever cannot be shown must not lose the entry
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


# ASCII alone: a line ends where the entry ends, whatever is in it.
_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, default=_shown).encode


def _as_json(entry: Fields) -> str:
    return _encode(entry)


def _for_people() -> Callable[[Fields], str]:
    # Plain tracebacks: the pretty ones print local variables, secrets among them.
    render = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)

    def rendered(entry: Fields) -> str:
        location, performance = entry.pop("location"), entry.pop("performance", {})
        message = str(entry.pop("message")).replace("\n", "\\n").replace("\r", "\\r")
        if entry["level"] in ("error", "critical"):
            entry["location"] = location
        return str(render(None, entry["level"], {**entry, **performance, "event": message}))

    return rendered
