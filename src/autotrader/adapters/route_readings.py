"""Readings of the routing for callers that come together: one visit to the database serves them all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from autotrader.ports.deployment import DeploymentRecords, Routing


class RouteReadings:
    """Reads the routing of instruments from a thread.

    A reading begins after it was asked for: who asks while a visit is under way is served by the next.

    Parameters
    ----------
    records : DeploymentRecords
    """

    def __init__(self, records: DeploymentRecords) -> None:
        self._records = records
        self._waiting: list[tuple[str, asyncio.Future[Routing | None]]] = []
        self._visits: asyncio.Task[None] | None = None

    async def of(self, instrument: str) -> Routing | None:
        """As `DeploymentRecords.routing`, and raises what that raises."""
        answer: asyncio.Future[Routing | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((instrument, answer))
        if self._visits is None:
            self._visits = asyncio.create_task(self._visit())
        return await answer

    async def _visit(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, []
                # Who gave up meanwhile has cancelled its answer.
                try:
                    found = await asyncio.to_thread(self._read, {name for name, _ in asked})
                except Exception as error:  # noqa: BLE001 - theirs who asked
                    for _, answer in asked:
                        if not answer.done():
                            answer.set_exception(error)
                else:
                    for name, answer in asked:
                        if not answer.done():
                            answer.set_result(found[name])
        finally:
            self._visits = None

    def _read(self, names: set[str]) -> Mapping[str, Routing | None]:
        return {name: self._records.routing(name) for name in names}
