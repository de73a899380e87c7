"""A stand-in collector: takes OTLP over HTTP on loopback, and keeps the spans that it was sent."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.fakes.http_server import Handler, listening


@dataclass
class Collected:
    """Spans by name, and the services that sent them; of several of one name, all."""

    url: str = ""
    spans: dict[str, list[Span]] = field(default_factory=dict)
    services: set[str] = field(default_factory=set)
    status: int = 200

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for attribute in resource.resource.attributes:
                if attribute.key == "service.name":
                    self.services.add(attribute.value.string_value)
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.setdefault(span.name, []).append(span)

    def one(self, name: str) -> Span:
        """The only span of that name."""
        (span,) = self.spans[name]
        return span


@contextlib.contextmanager
def collecting() -> Iterator[Collected]:
    """The collector on a free port."""
    collected = Collected()

    class Collecting(Handler):
        def respond(self) -> None:
            body = self.sent()
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            collected.take(body)
            self.answer(collected.status)

    with listening(Collecting) as collected.url:
        yield collected
