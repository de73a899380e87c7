"""The caller's side of routing: asks who owns the instrument, and acts on the answer of nobody else.

The route is read before a request and again after its answer. If the instrument has another owner
by then, or another epoch, the answer is discarded and the new owner is asked. While a rollout is
watched the other colour is asked the same, beside: its answer is recorded, never returned, and
never waited for.

Where the load balancer leads those who ask a candidate to the stable colour (break-glass: an operator
did so without the database), the service there turns them away, since they named another. They then
ask the colour that the route falls back to by its own name, and its answer is told as its own. What is
stable has nothing to fall back to: a candidate never answers for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from autotrader.adapters.pairs import PairRecorder, pair_of
from autotrader.adapters.prediction_client import MISDIRECTED, NO_ANSWER, OK, Answer, PredictionClient
from autotrader.adapters.route_readings import RouteReadings
from autotrader.domain.errors import Refused, Rejected, Throttled, Unreachable
from autotrader.domain.rollout import Color
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords, Watched
from autotrader.ports.predictions import Prediction, PredictionRequest

log = structlog.get_logger(__name__)

# Of an owner that gives no prediction, and of routes that change while it is asked.
TRIES = 6
PATIENCE_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 0.02
MOST_BESIDE = 256
# The request itself is at fault: https://www.rfc-editor.org/rfc/rfc9110#name-client-error-4xx
_REQUEST_IS_WRONG = frozenset({400, 401, 403, 404, 405, 413, 415, 422})


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reading of the routing says of an instrument, at the instant it was made.

    Attributes
    ----------
    owner : Color
        Of the instrument: of a route whose supervision has lapsed, the one that it falls back to.
    fallback : Color or None
        Whose answer may be acted on where the owner's place is taken by it.
    epoch : int
    """

    owner: Color
    fallback: Color | None
    epoch: int
    endpoints: Mapping[Color, str]
    watched: Watched | None

    def is_as(self, other: Reading) -> bool:
        """Whether the instrument is still its owner's, and was nobody else's between."""
        return (self.owner, self.epoch) == (other.owner, other.epoch)


class RoutedPredictor:
    """Predictions of whoever owns the instrument; used as an async context manager.

    Parameters
    ----------
    records : DeploymentRecords
        Read once before and once after a request, from a thread.
    client : PredictionClient
        Open.
    clock : WallClock
    """

    def __init__(self, records: DeploymentRecords, client: PredictionClient, clock: WallClock) -> None:
        self._readings = RouteReadings(records)
        self._client = client
        self._clock = clock
        self._recorder = PairRecorder(records)
        self._beside: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._recorder.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.gather(*self._beside, return_exceptions=True)  # each has told its own fault
        await self._recorder.__aexit__(kind, error, traceback)

    async def predict(self, request: PredictionRequest) -> Prediction:
        patient_until = self._clock.monotonic() + PATIENCE_SECONDS
        failures = 0
        before = await self._read(request.instrument)
        while True:
            color, answer = before.owner, await self._ask(request, before)
            if answer.status == MISDIRECTED and before.fallback is not None:
                color, answer = before.fallback, await self._ask_fallback(request, before, before.fallback)
            after = await self._read(request.instrument)
            if after.is_as(before):
                if answer.status == OK:
                    return _prediction(request, after, color, answer)
                if answer.status in _REQUEST_IS_WRONG:
                    raise Rejected(f"expected {color} to answer, was {answer.status}: {answer.reason}")
                failures += 1
                if failures == TRIES:
                    raise _none_of(request, f"{TRIES} tries", answer)
                await asyncio.sleep(FIRST_PAUSE_SECONDS * 2 ** (failures - 1))
                after = await self._read(request.instrument)
            # Otherwise it is discarded, whatever it says, and the new owner asked at once.
            elif self._clock.monotonic() > patient_until:
                raise _none_of(request, f"{PATIENCE_SECONDS:g} s of changing routes", answer)
            before = after

    async def _ask(self, request: PredictionRequest, reading: Reading) -> Answer:
        color = reading.owner
        endpoint = reading.endpoints.get(color)
        if endpoint is None:
            return Answer(NO_ANSWER, 0.0, reason=f"nothing runs in {color}")
        asking = self._client.ask(color, endpoint, request)
        if reading.watched is None:
            return await asking
        # A task of its own, so that the pair is whole even if this caller is cancelled.
        owners = asyncio.create_task(asking)
        if len(self._beside) < MOST_BESIDE:
            other = reading.endpoints.get(color.other)
            task = asyncio.create_task(self._pair(request, color, other, reading.watched, owners))
            self._beside.add(task)
            task.add_done_callback(self._end_beside)
        else:
            log.warning("the other colour was not asked: it holds up too many requests", most=MOST_BESIDE)
        return await asyncio.shield(owners)

    async def _ask_fallback(self, request: PredictionRequest, reading: Reading, color: Color) -> Answer:
        log.warning("break-glass: the stable colour is asked", owner=reading.owner.value, asked=color.value)
        endpoint = reading.endpoints.get(color)
        if endpoint is None:
            return Answer(NO_ANSWER, 0.0, reason=f"nothing runs in {color}")
        return await self._client.ask(color, endpoint, request)

    def _end_beside(self, task: asyncio.Task[None]) -> None:
        self._beside.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a pair was lost", exc_info=task.exception())

    async def _pair(
        self,
        request: PredictionRequest,
        color: Color,
        others_endpoint: str | None,
        watched: Watched,
        owners: asyncio.Task[Answer],
    ) -> None:
        other = None
        if others_endpoint is not None:
            other = await self._client.ask(color.other, others_endpoint, request)
        own = await owners
        if color is watched.candidate:
            pair = pair_of(request, stable=other, candidate=own)
        elif other is not None:
            pair = pair_of(request, stable=own, candidate=other)
        else:  # the candidate's colour is empty: there is nothing to compare
            return
        self._recorder.add(watched.rollout_id, pair)

    async def _read(self, instrument: str) -> Reading:
        routing = await self._readings.of(instrument)
        owner = None if routing is None else routing.route.owner(self._clock.now())
        if routing is None or owner is None:
            raise Refused(f"nobody answers for {instrument}: expected a version that is live, was none")
        fallback = routing.route.fallback if owner is routing.route.color else None
        return Reading(owner, fallback, routing.route.epoch, routing.endpoints, routing.watched)


def _none_of(request: PredictionRequest, spent: str, last: Answer) -> Unreachable:
    message = f"expected an answer for {request.instrument} within {spent}, was none: {last.reason or 'late'}"
    if last.retry_after_seconds is not None:
        return Throttled(message, retry_after_seconds=last.retry_after_seconds)
    return Unreachable(message)


def _prediction(request: PredictionRequest, reading: Reading, color: Color, answer: Answer) -> Prediction:
    assert answer.probabilities is not None  # noqa: S101 - where status is 200
    assert answer.version is not None  # noqa: S101
    return Prediction(
        request_id=request.request_id,
        instrument=request.instrument,
        color=color,
        version=answer.version,
        epoch=reading.epoch,
        probabilities=answer.probabilities,
        seconds=answer.seconds,
    )
