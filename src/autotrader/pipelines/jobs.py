"""A step that may have been asked for as a job: the job is told how its try ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from autotrader.command import to_plain
from autotrader.domain.errors import AutotraderError, Refused, Unreachable
from autotrader.ports.clock import WallClock
from autotrader.ports.jobs import Jobs

T = TypeVar("T")


def done_as_job(run_key: str, work: Callable[[], T], *, jobs: Jobs, clock: WallClock) -> T:
    """Do the work; where the run is a try of a job, tell it the result, or why there is none.

    A process that is killed tells nothing: whoever follows the runs in Airflow ends its try.

    Raises
    ------
    Refused
        If the try is over.
    """
    if jobs.begin(run_key, clock.now()) is None:
        return work()
    try:
        result = work()
    except Exception as error:
        is_final = isinstance(error, AutotraderError) and not isinstance(error, Unreachable)
        jobs.fail(run_key, f"{type(error).__name__}: {error}", clock.now(), can_retry=not is_final)
        raise
    if not jobs.succeed(run_key, to_plain(result), clock.now()):
        raise Refused(f"expected the try {run_key} to be under way, was given up meanwhile")
    return result
