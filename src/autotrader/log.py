"""Structured logs: one JSON object a line for programs, colours for people, on stderr."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

_SECRET_NAMES = re.compile(r"(secret|password|token|api_?key|authorization|signature|cookie)", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"((?:signature|apiKey|api_key|token|password|secret)=)[^&\s\"']+"
    r"|(Bearer\s+)\S+"
    r"|(://[^:/@\s]+:)[^@\s]+(?=@)",
    re.IGNORECASE,
)


def mask_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace what looks like a secret, by name and inside text, however deep it lies."""
    return {name: _masked(name, value) for name, value in event.items()}


def _masked(name: str, value: object) -> object:
    if _SECRET_NAMES.search(name):
        return "***"
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {str(k): _masked(str(k), v) for k, v in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_masked("", v) for v in value]
    return mask_text(str(value))


def mask_text(text: str) -> str:
    """The text with credentials in query strings, headers and URLs replaced."""
    return _SECRET_TEXT.sub(lambda m: (m.group(1) or m.group(2) or m.group(3)) + "***", text)


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
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor] = (
        # Plain tracebacks: the pretty ones print local variables, secrets among them.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.EventRenamer("message"), structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                mask_secrets,
                *renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("urllib3", "httpx", "httpcore", "botocore", "alembic", "ib_async", "ib_insync"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
