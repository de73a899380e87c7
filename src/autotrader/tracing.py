"""Traces: which bar led to which order, which task of a DAG to which write of the registry.

Off unless `AUTOTRADER_TRACING__ENDPOINT` is set: `span` is then nothing, and nothing of OpenTelemetry is
imported. On, spans go to a collector over OTLP in batches from a thread of their own; one that is away
loses them and costs nobody anything.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from autotrader import log
from autotrader.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan

TRACEPARENT = "traceparent"  # the header, https://www.w3.org/TR/trace-context/
FLUSH_SECONDS = 2.0
EXPORT_SECONDS = 5.0

Attribute = str | int | float | bool


class Span(Protocol):
    """A block of work under way; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Nothing:
    """Stands for every span while tracing is off."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


_NOTHING = _Nothing()
_recorder: _Recorder | None = None
_lock = threading.Lock()


def span(name: str, *, parent: str | None = None, **attributes: Attribute) -> Span:
    """Record the block as a part of what is under way.

    Parameters
    ----------
    name : str
        One of few: what differs from call to call is an attribute.
    parent : str or None
        A `traceparent` from elsewhere; one that is none begins a trace of its own.
    """
    return _NOTHING if _recorder is None else _recorder.span(name, parent, attributes)


def is_on() -> bool:
    return _recorder is not None


def traceparent() -> str | None:
    """The span under way, for whoever is asked next; None where there is none."""
    return None if _recorder is None else _recorder.traceparent()


def traceparent_of(*names: str) -> str:
    """The same for the same names, wherever it is asked: the tasks of a DAG run share a trace by it."""
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return f"00-{digest[:32]}-{digest[32:48]}-01"


def turn_on(endpoint: str | None, *, service: str | None = None) -> None:
    """Send spans to the collector; without an endpoint, or where it is on already, nothing changes.

    Parameters
    ----------
    endpoint : str or None
        Base URL of the collector's OTLP over HTTP, such as http://127.0.0.1:4318.
    service : str or None
        Which process this is; what was started, if left out.

    Raises
    ------
    ConfigurationError
        If OpenTelemetry is not installed.
    """
    global _recorder
    if endpoint is None:
        return
    with _lock:
        if _recorder is None:
            _recorder = _Recorder(endpoint, service or _started())
            log.trace_ids = _recorder.ids


def flush() -> None:
    """Send what is recorded, with little patience: before a process that is not ours may end."""
    if _recorder is not None:
        _recorder.provider.force_flush(int(FLUSH_SECONDS * 1000))


def turn_off() -> None:
    """Send what is recorded, and record no more."""
    global _recorder
    with _lock:
        if _recorder is not None:
            _recorder.provider.shutdown()
        _recorder, log.trace_ids = None, None


def _started() -> str:
    """The module of `python -m`, or the verb of `autotrader VERB`."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None:
        return str(spec.name.removesuffix(".__main__").rpartition(".")[2])
    return sys.argv[1] if len(sys.argv) > 1 else "autotrader"


class _Recorder:
    """OpenTelemetry, imported where it is wanted alone."""

    def __init__(self, endpoint: str, service: str) -> None:
        try:
            from opentelemetry import context, trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise ConfigurationError(
                f"expected OpenTelemetry where AUTOTRADER_TRACING__ENDPOINT is set, was {error}: "
                "install autotrader[tracing]"
            ) from error
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
        self.provider: TracerProvider = TracerProvider(resource=Resource.create({"service.name": service}))
        self.provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self.provider.get_tracer("autotrader")
        self.attach, self.detach = context.attach, context.detach
        self.with_span = trace.set_span_in_context
        self._trace = trace
        # It warns of each span that it throws away while the collector is away.
        logging.getLogger("opentelemetry.sdk").setLevel(logging.ERROR)

    def span(self, name: str, parent: str | None, attributes: Mapping[str, Attribute]) -> Span:
        return _Recorded(self, name, None if parent is None else self._remote(parent), attributes)

    def ids(self) -> tuple[str, str] | None:
        """Of the span under way, in hexadecimal."""
        found = self._trace.get_current_span().get_span_context()
        return (f"{found.trace_id:032x}", f"{found.span_id:016x}") if found.is_valid else None

    def traceparent(self) -> str | None:
        ids = self.ids()
        return None if ids is None else f"00-{ids[0]}-{ids[1]}-01"

    def _remote(self, parent: str) -> Context | None:
        parts = parent.split("-")
        try:
            version, trace_id, span_id, flags = parts[0], int(parts[1], 16), int(parts[2], 16), parts[3]
        except (IndexError, ValueError):
            return None
        is_sound = len(version) == 2 and len(parts[1]) == 32 and len(parts[2]) == 16 and version != "ff"
        if not is_sound or not trace_id or not span_id:
            return None
        sampled = self._trace.TraceFlags(1 if flags.endswith("1") else 0)
        remote = self._trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=sampled)
        return self.with_span(self._trace.NonRecordingSpan(remote))


class _Recorded:
    """One span; by hand, since the library's own context manager costs as much again."""

    __slots__ = ("_attributes", "_context", "_name", "_recorder", "_span", "_token")
    _span: OtelSpan

    def __init__(
        self, recorder: _Recorder, name: str, context: Context | None, attributes: Mapping[str, Attribute]
    ) -> None:
        self._recorder = recorder
        self._name = name
        self._context = context
        self._attributes = attributes

    def __enter__(self) -> Self:
        recorder = self._recorder
        self._span = recorder.tracer.start_span(self._name, self._context, attributes=self._attributes)
        self._token = recorder.attach(recorder.with_span(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._recorder.detach(self._token)
        if kind is not None:
            self._fail(kind, error)
        self._span.end()

    def _fail(self, kind: type[BaseException], error: BaseException | None) -> None:
        from opentelemetry.trace import Status, StatusCode

        # Not the library's own record of it: that would send the message and all of its secrets.
        said = log.mask_text(str(error))[:500]
        self._span.add_event("exception", {"exception.type": kind.__name__, "exception.message": said})
        self._span.set_status(Status(StatusCode.ERROR, said))
