"""Cancel a job."""

from __future__ import annotations

from autotrader import command
from autotrader.apps.jobs.cancelling import cancelled
from autotrader.config.actor import operator
from autotrader.ports.clock import WallClock
from autotrader.ports.jobs import Jobs


def cancel(*, id: str, jobs: Jobs, clock: WallClock) -> command.Result:
    """Give up a job that is asked for, queued or running; the API stops its run in Airflow.

    Done twice it is done once. What has ended is not taken back.

    Parameters
    ----------
    id : str
        Of the job, as `autotrader jobs list` shows it.
    """
    actor, now = operator(), clock.now()
    job = jobs.cancel(id, actor=actor, now=now, event=cancelled(id, actor, now))
    return command.Result(job, f"{id}: {job.reason}")


if __name__ == "__main__":
    raise SystemExit(command.run(cancel))
