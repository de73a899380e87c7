"""Work beside the ticks: while it takes its time, the controller supervises and says that it lives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from autotrader.deployment.controller import StageResult, StageWork
from autotrader.deployment.projection import Projection
from autotrader.domain.rollout import Stage
from autotrader.ports.deployment import Rollout, Slot

# What is done so soon is done within the tick that asked for it.
SOON_SECONDS = 0.1
# For work under way when the controller ends; what it leaves undone is done again by the next one.
END_SECONDS = 5.0

T = TypeVar("T")


class Background:
    """Does the work of one stage at a time in a thread; asked again meanwhile, it is not done yet.

    What came of work that nobody asks for any more is dropped.

    Parameters
    ----------
    work : StageWork
        Called from one thread at a time, but for `revive`, which is called as asked.
    """

    def __init__(self, work: StageWork) -> None:
        self._work = work
        self._job: _Job[StageResult | None] | None = None
        self._of: tuple[str, Stage] | None = None

    def pre_deploy_checks(self, rollout: Rollout) -> StageResult | None:
        return self._do(rollout, self._work.pre_deploy_checks)

    def deploy(self, rollout: Rollout) -> StageResult | None:
        return self._do(rollout, self._work.deploy)

    def integration_tests(self, rollout: Rollout) -> StageResult | None:
        return self._do(rollout, self._work.integration_tests)

    def revive(self, slot: Slot) -> None:
        self._work.revive(slot)

    @property
    def is_busy(self) -> bool:
        return self._work.is_busy or (self._job is not None and self._job.is_under_way)

    def end(self) -> None:
        """Wait a little for what is under way; a thread that goes on ends with the process."""
        if self._job is not None:
            self._job.wait(END_SECONDS)

    def _do(self, rollout: Rollout, work: Callable[[Rollout], StageResult | None]) -> StageResult | None:
        job, of = self._job, (rollout.id, rollout.stage)
        if job is None or not (job.is_under_way or self._of == of):
            job = self._job = _Job(f"stage-{rollout.stage.value}", lambda: work(rollout))
            self._of = of
        job.wait(SOON_SECONDS)
        if job.is_under_way or self._of != of:
            return None
        self._job = None
        return job.result()


class BackgroundProjection:
    """Converges in a thread: a registry or front door that hangs holds no tick up.

    Parameters
    ----------
    projection : Projection
        Converges in one thread at a time.
    """

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._job: _Job[None] | None = None
        self._at_once = False

    @property
    def pending(self) -> tuple[str, ...]:
        return self._projection.pending

    def converge(self, *, now: bool = False) -> None:
        """What is asked for at once while it is under way is done again after: it may have read before."""
        self._at_once |= now
        if self._job is not None:
            if self._job.is_under_way:
                return
            self._job.result()  # a fault of the program ends the controller
            self._job = None
        if self._at_once or self._projection.is_due:
            self._at_once = False
            self._job = _Job("convergence", lambda: self._projection.converge(now=True))

    def why_not_live(self, version: str) -> str | None:
        return self._projection.why_not_live(version)

    def end(self) -> None:
        """Wait a little for what is under way; the next controller goes on with it."""
        if self._job is not None:
            self._job.wait(END_SECONDS)


class _Job(Generic[T]):
    def __init__(self, name: str, work: Callable[[], T]) -> None:
        self._work = work
        self._result: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_under_way(self) -> bool:
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        self._thread.join(seconds)

    def result(self) -> T | None:
        """What came of it; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            self._error = error
