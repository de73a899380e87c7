"""One request answered by both colours: asked, put together, and recorded in the background."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import structlog

from autotrader.adapters.prediction_client import Answer, PredictionClient
from autotrader.domain.errors import Unreachable
from autotrader.domain.rollout import Color
from autotrader.ports.deployment import DeploymentRecords, Pair
from autotrader.ports.predictions import PredictionRequest

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 0.25
# Some minutes of a rollout, where the database does not answer.
MOST_UNRECORDED = 50_000

# From rows of features to rows of (down, flat, up).
OfflineModel = Callable[[Sequence[Sequence[float]]], Sequence[Sequence[float]]]


def pair_of(
    request: PredictionRequest, *, stable: Answer | None, candidate: Answer, parity: float | None = None
) -> Pair:
    """Both answers to one request; of many rows, the newest is compared."""
    return Pair(
        request_id=request.request_id,
        instrument=request.instrument,
        ts=request.ts[-1],
        replayed=request.replayed,
        stable_status=None if stable is None else stable.status,
        candidate_status=candidate.status,
        stable_seconds=None if stable is None else stable.seconds,
        candidate_seconds=candidate.seconds,
        stable_score=None if stable is None else stable.score,
        candidate_score=candidate.score,
        parity_difference=parity,
    )


class PairAsker:
    """Asks both colours the same request at the same moment.

    Parameters
    ----------
    client : PredictionClient
    offline_model : callable or None
        The candidate as it was trained, which its answers are held against.
    """

    def __init__(self, client: PredictionClient, offline_model: OfflineModel | None = None) -> None:
        self._client = client
        self._offline_model = offline_model

    async def ask(
        self, request: PredictionRequest, *, candidate: Color, endpoints: Mapping[Color, str]
    ) -> Pair:
        """The pair of their answers; a colour that is not among the endpoints is not asked.

        Parameters
        ----------
        request : PredictionRequest
        candidate : Color
            Must have an endpoint; the other is the stable one.
        endpoints : Mapping of Color to str
            Base URLs.
        """
        colors = [color for color in (candidate.other, candidate) if color in endpoints]
        given = await asyncio.gather(*(self._client.ask(c, endpoints[c], request) for c in colors))
        answers = dict(zip(colors, given, strict=True))
        parity = await self._parity(request, answers[candidate])
        return pair_of(
            request, stable=answers.get(candidate.other), candidate=answers[candidate], parity=parity
        )

    async def _parity(self, request: PredictionRequest, answer: Answer) -> float | None:
        if self._offline_model is None or answer.probabilities is None:
            return None
        offline = await asyncio.to_thread(self._offline_model, request.rows)
        return max(
            abs(float(served) - float(expected))
            for served_row, offline_row in zip(answer.probabilities, offline, strict=True)
            for served, expected in zip(served_row, offline_row, strict=True)
        )


class PairRecorder:
    """Takes pairs at once, and writes them in batches from a thread.

    While the database does not answer they are kept, up to a bound; used as an async context
    manager, whose end writes the rest.
    """

    def __init__(self, records: DeploymentRecords) -> None:
        self._records = records
        self._waiting: list[tuple[str, Pair]] = []

    async def __aenter__(self) -> Self:
        self._flushing = asyncio.create_task(self._flush_for_ever())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._flushing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._flushing
        await self.flush()

    def add(self, rollout_id: str, pair: Pair) -> None:
        """To be recorded soon."""
        self._waiting.append((rollout_id, pair))

    async def flush(self) -> None:
        """Write what waits.

        Raises
        ------
        Unreachable
            If the database does not answer: the pairs wait on.
        """
        batch, self._waiting = self._waiting, []
        try:
            for rollout_id in dict.fromkeys(id_ for id_, _ in batch):
                pairs = [pair for id_, pair in batch if id_ == rollout_id]
                await asyncio.to_thread(self._records.add_pairs, rollout_id, pairs)
        except BaseException:
            # Some may have been written: they are left where they are the next time.
            kept = [*batch, *self._waiting]
            self._waiting = kept[-MOST_UNRECORDED:]
            if len(kept) > MOST_UNRECORDED:
                log.warning("pairs were dropped", count=len(kept) - MOST_UNRECORDED)
            raise

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self.flush()
            except Unreachable as error:
                log.warning("pairs could not be recorded yet", error=str(error), waiting=len(self._waiting))
