"""Stage work beside the ticks: while it takes its time, the controller supervises and says that it lives."""

from __future__ import annotations

import threading
from collections.abc import Callable

from autotrader.deployment.controller import StageResult, StageWork
from autotrader.domain.rollout import Stage
from autotrader.ports.deployment import Rollout, Slot

# What is done so soon is done within the tick that asked for it.
SOON_SECONDS = 0.1
# For work under way when the controller ends; what it leaves undone is done again by the next one.
END_SECONDS = 5.0


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
        self._job: _Job | None = None

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
        if job is None or not (job.is_under_way or job.of == of):
            job = self._job = _Job(of, lambda: work(rollout))
        job.wait(SOON_SECONDS)
        if job.is_under_way or job.of != of:
            return None
        self._job = None
        return job.result()


class _Job:
    def __init__(self, of: tuple[str, Stage], work: Callable[[], StageResult | None]) -> None:
        self.of = of
        self._work = work
        self._result: StageResult | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"stage-{of[1].value}", daemon=True)
        self._thread.start()

    @property
    def is_under_way(self) -> bool:
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        self._thread.join(seconds)

    def result(self) -> StageResult | None:
        """What came of it; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            self._error = error
