"""Replays requests of the last day to both colours, beside what callers ask, and records the pairs."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import uuid4

import structlog

from autotrader.adapters.pairs import OfflineModel, PairAsker, PairRecorder
from autotrader.adapters.prediction_client import PredictionClient
from autotrader.deployment.replay import ReplayRows
from autotrader.domain.rollout import Color
from autotrader.ports.deployment import DeploymentRecords
from autotrader.ports.predictions import PredictionRequest

log = structlog.get_logger(__name__)

# Where a colour is slow, requests pile up to this many before the driver waits for answers.
MOST_UNDER_WAY = 256


class ReplayDriver:
    """A thread with an event loop of its own, from `start` to `end`.

    Parameters
    ----------
    records : DeploymentRecords
    rollout_id : str
    candidate : Color
    endpoints : Mapping of Color to str
        Base URLs of the colours to ask; the candidate's is among them.
    rows : ReplayRows
        Asked about in turn, over and over.
    feature_set : str
    offline_model : OfflineModel
        The candidate as it was trained.
    requests_per_second : float
    token : str
    """

    def __init__(
        self,
        *,
        records: DeploymentRecords,
        rollout_id: str,
        candidate: Color,
        endpoints: Mapping[Color, str],
        rows: ReplayRows,
        feature_set: str,
        offline_model: OfflineModel,
        requests_per_second: float,
        token: str,
    ) -> None:
        self.rollout_id = rollout_id
        self._records = records
        self._candidate = candidate
        self._endpoints = dict(endpoints)
        self._rows = rows
        self._feature_set = feature_set
        self._offline_model = offline_model
        self._pause = 1.0 / requests_per_second
        self._token = token
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replay-driver", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> None:
        """Ask nothing further, record what was answered, and return."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._drive())

    async def _drive(self) -> None:
        # A run of its own, so that a driver that is started again asks nothing under an old name.
        prefix = f"replay-{uuid4().hex[:12]}"
        under_way: set[asyncio.Task[None]] = set()
        async with PredictionClient(self._token) as client, PairRecorder(self._records) as recorder:
            asker = PairAsker(client, self._offline_model)
            due = asyncio.get_running_loop().time()
            for number in itertools.count():
                if self._stop.is_set():
                    break
                task = asyncio.create_task(self._ask(asker, recorder, f"{prefix}-{number}", number))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                if len(under_way) >= MOST_UNDER_WAY:
                    await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                due += self._pause
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            if under_way:
                await asyncio.wait(under_way)

    async def _ask(self, asker: PairAsker, recorder: PairRecorder, request_id: str, number: int) -> None:
        at = number % len(self._rows)
        request = PredictionRequest(
            request_id=request_id,
            instrument=self._rows.instrument[at],
            feature_set=self._feature_set,
            ts=[datetime.fromtimestamp(int(self._rows.ts[at]) / 1e6, UTC)],
            rows=[self._rows.features[at].tolist()],
            feature_names=self._rows.names,
            replayed=True,
        )
        recorder.add(
            self.rollout_id,
            await asker.ask(request, candidate=self._candidate, endpoints=self._endpoints),
        )
