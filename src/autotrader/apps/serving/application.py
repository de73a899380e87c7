"""The prediction service itself: who may ask, what is answered, and what is written down first."""

from __future__ import annotations

import hmac
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np
import psutil
import structlog
from numpy.typing import NDArray

from autotrader import tracing
from autotrader.apps.serving.decoder import PredictDecoder
from autotrader.apps.serving.exchange import Answer, Exchange, Work
from autotrader.apps.serving.metrics import CONTENT_TYPE, ServingMetrics
from autotrader.apps.serving.prediction_log import PredictionLog
from autotrader.apps.serving.release import LoadedRelease
from autotrader.apps.serving.segments import encode_record
from autotrader.apps.serving.threads import Done
from autotrader.apps.serving.wire import (
    MSGPACK,
    Complaint,
    PredictAnswer,
    Request,
    Unacceptable,
    names_msgpack,
    pack,
)
from autotrader.domain.errors import DependencyError
from autotrader.domain.rollout import Color
from autotrader.ports.deployment import Release

RETRY_AFTER = b"retry-after: 1\r\n"
# From here on the model takes longer than handing its rows to a thread and back.
BATCH_ROWS = 32
SMALLEST_BODY_BYTES = 65_536  # until the model says how much a request may need

_BEARER = b"bearer "
_SUM_TOLERANCE = 1e-3  # of float32 probabilities
_log = structlog.get_logger(__name__)


class ServingStatus(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Served:
    """What the service answers from, once it is loaded."""

    loaded: LoadedRelease
    decoder: PredictDecoder
    log: PredictionLog


class Asked(NamedTuple):
    """A request that was understood."""

    served: Served
    exchange: Exchange
    request: Request
    features: NDArray[np.float32]
    received_at: int  # microseconds since 1970


class PredictionApplication:
    """`POST /predict`, `GET /health`, `GET /metrics`.

    Parameters
    ----------
    color : Color
        Its own: requests that name another are turned away.
    token : str
        That callers send as bearer.
    in_progress : Callable
        Number of requests under way.
    """

    def __init__(self, *, color: Color, token: str, in_progress: Callable[[], int]) -> None:
        self.color = color
        self.status = ServingStatus.STARTING
        self.max_body_bytes = SMALLEST_BODY_BYTES
        self.metrics = ServingMetrics(in_progress=in_progress, log_bytes=self._log_bytes)
        self._served: Served | None = None
        self._token = token.encode()
        self._in_progress = in_progress
        self._own_color = color.value.encode()
        self._began = time.monotonic()
        self._process = psutil.Process()
        self._encoder = msgspec.json.Encoder()
        self._msgpack_encoder = msgspec.msgpack.Encoder()

    def serve(self, loaded: LoadedRelease, log: PredictionLog, *, max_rows: int) -> None:
        """Become ready."""
        release = loaded.release
        decoder = PredictDecoder(
            version=release.version,
            feature_set=release.feature_set,
            feature_names=loaded.feature_names,
            max_rows=max_rows,
        )
        self._served = Served(loaded, decoder, log)
        self.max_body_bytes = decoder.max_bytes
        self.metrics.describe_model(
            model=release.model,
            version=release.version,
            color=self.color.value,
            feature_set=release.feature_set,
            onnx_sha256=release.onnx_sha256,
        )
        self.status = ServingStatus.READY

    # ------------------------------------------------------------------------------- answers

    def admit(self, exchange: Exchange) -> Answer | None:
        """Whatever needs no body: health, metrics, and who may not ask."""
        if exchange.path != b"/predict":
            return self._page(exchange)
        if exchange.method != b"POST":
            return self._wrong_method(exchange, b"POST")
        headers = exchange.headers
        if not self._is_authorized(headers.get(b"authorization", b"")):
            complaint = Complaint("unauthorized", "Authorization: Bearer TOKEN", "none, or another token")
            return self._complain(401, complaint, b"www-authenticate: Bearer\r\n")
        color = headers.get(b"x-autotrader-color")
        if color is not None and color != self._own_color:
            was = color[:64].decode(errors="replace")
            return self._complain(421, Complaint("wrong color", self.color.value, was))
        if self._served is None:
            return self._complain(503, Complaint("starting", "a loaded model", "none yet"), RETRY_AFTER)
        return None

    def respond(self, exchange: Exchange) -> Answer | Work:
        """Predict, log, answer; in this order. Of many rows the first is left to a thread."""
        try:
            if not tracing.is_on():
                return self._predict(exchange)
            with self._span(exchange):
                return self._predict(exchange)
        except Exception as error:  # noqa: BLE001 - whatever a model does, the next request is answered
            return self._failure(error)

    def refuse(self, status: int, error: str, *, expected: str, was: str) -> Answer:
        headers = RETRY_AFTER if status == 503 else b""
        return self._complain(status, Complaint(error, expected, was), headers)

    def observe(self, exchange: Exchange, status: int, seconds: float) -> None:
        self.metrics.requests.observe(exchange.method, exchange.path, status, seconds)

    def health(self) -> dict[str, object]:
        """What `/health` says."""
        served = self._served
        fault = served.log.fault if served else None
        known: dict[str, object] = {}
        if served is not None:
            release = served.loaded.release
            known = {
                "model": release.model,
                "version": release.version,
                "onnx_sha256": release.onnx_sha256,
                "feature_set": release.feature_set,
                "feature_names": served.loaded.feature_names,
            }
        return {
            "status": self.status.value,
            "live": True,
            "ready": self.status is ServingStatus.READY and fault is None,
            "reason": fault or ("" if self.status is ServingStatus.READY else self.status.value),
            "color": self.color.value,
            "model": None,
            "version": None,
            "onnx_sha256": None,
            "feature_set": None,
            **known,
            "uptime_seconds": round(time.monotonic() - self._began, 3),
            "memory_bytes": self._process.memory_info().rss,
            "requests_under_way": self._in_progress(),
            "prediction_log_bytes": self._log_bytes(),
        }

    # --------------------------------------------------------------------------------- parts

    def _predict(self, exchange: Exchange) -> Answer | Work:
        served = self._served
        if served is None:
            raise RuntimeError("a request was let in before the model was loaded")
        is_packed = names_msgpack(exchange.headers.get(b"content-type", b""))
        decode = served.decoder.decode_msgpack if is_packed else served.decoder.decode_json
        request, features = decode(exchange.body)
        asked = Asked(served, exchange, request, features, time.time_ns() // 1_000)
        if len(features) < BATCH_ROWS:
            return self._record(asked, served.loaded.model.predict(features))
        return Work(partial(self._run, asked), partial(self._finish, asked))

    def _run(self, asked: Asked) -> NDArray[np.float32]:
        model = asked.served.loaded.model
        if not tracing.is_on():
            return model.predict(asked.features)
        with self._span(asked.exchange):
            return model.predict(asked.features)

    def _finish(self, asked: Asked, done: Done) -> Answer:
        try:
            return self._record(asked, done.result())
        except Exception as error:  # noqa: BLE001 - as in `respond`
            return self._failure(error)

    def _record(self, asked: Asked, probabilities: NDArray[np.float32]) -> Answer:
        _require_probabilities(probabilities)
        request, served = asked.request, asked.served
        record = encode_record(
            request.request_id,
            request.instrument,
            asked.received_at,
            request.replayed,
            request.ts,
            asked.features,
            probabilities,
        )
        served.log.append(record)
        self.metrics.rows.observe(probabilities)
        return self._prediction(asked.exchange, served.loaded.release, request.request_id, probabilities)

    def _span(self, exchange: Exchange) -> tracing.Span:
        parent = exchange.headers.get(b"traceparent", b"").decode("ascii", "replace")
        return tracing.span("predict", parent=parent, color=self.color.value)

    def _failure(self, error: Exception) -> Answer:
        if isinstance(error, Unacceptable):
            return self._complain(error.status, error.complaint)
        if isinstance(error, DependencyError):
            self.metrics.log_failures.inc()
            complaint = Complaint("prediction log", "a log that can be written", str(error))
            return self._complain(503, complaint, RETRY_AFTER)
        incident = uuid.uuid4().hex
        self.metrics.model_errors.inc()
        _log.error("the model failed on a request", incident=incident, exc_info=error)
        complaint = Complaint("internal error", "a prediction", "a failure of the model", id=incident)
        return self._complain(500, complaint)

    def _prediction(
        self, exchange: Exchange, release: Release, request_id: str, probabilities: NDArray[np.float32]
    ) -> Answer:
        wants_packed = names_msgpack(exchange.headers.get(b"accept", b""))
        answer = PredictAnswer(
            request_id=request_id,
            model=release.model,
            version=release.version,
            color=self.color.value,
            feature_set=release.feature_set,
            probabilities=pack(probabilities) if wants_packed else probabilities.tolist(),
        )
        if wants_packed:
            return Answer(200, self._msgpack_encoder.encode(answer), MSGPACK)
        return Answer(200, self._encoder.encode(answer))

    def _log_bytes(self) -> int:
        return self._served.log.written_bytes if self._served else 0

    def _page(self, exchange: Exchange) -> Answer:
        if exchange.path not in (b"/health", b"/metrics"):
            known = "/predict, /health or /metrics"
            was = exchange.path[:200].decode(errors="replace")
            return self._complain(404, Complaint("no such path", known, was))
        if exchange.method != b"GET":
            return self._wrong_method(exchange, b"GET")
        if exchange.path == b"/metrics":
            return Answer(200, self.metrics.page(), CONTENT_TYPE)
        health = self.health()
        return Answer(200 if health["ready"] else 503, self._encoder.encode(health))

    def _wrong_method(self, exchange: Exchange, allowed: bytes) -> Answer:
        complaint = Complaint("wrong method", allowed.decode(), exchange.method.decode(errors="replace"))
        return self._complain(405, complaint, b"allow: %b\r\n" % allowed)

    def _is_authorized(self, value: bytes) -> bool:
        is_bearer = value[: len(_BEARER)].lower() == _BEARER
        return hmac.compare_digest(value[len(_BEARER) :], self._token) and is_bearer

    def _complain(self, status: int, complaint: Complaint, headers: bytes = b"") -> Answer:
        return Answer(status, self._encoder.encode(complaint), headers=headers)


def _require_probabilities(probabilities: NDArray[np.float32]) -> None:
    """Refuse what is none; NaN fails each comparison."""
    if len(probabilities) == 1:
        (row,) = probabilities.tolist()
        sound = abs(sum(row) - 1) <= _SUM_TOLERANCE and min(row) >= 0
    else:
        sums = np.abs(probabilities.sum(axis=1) - 1) <= _SUM_TOLERANCE
        sound = bool(sums.all() and (probabilities >= 0).all())
    if not sound:
        raise ValueError(f"expected probabilities from the model, was {probabilities[:3].tolist()}")
