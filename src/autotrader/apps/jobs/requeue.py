"""Ask again for a job that was given up."""

from __future__ import annotations

from autotrader import command
from autotrader.config.actor import operator
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventType
from autotrader.ports.jobs import Jobs


def requeue(*, id: str, jobs: Jobs, clock: WallClock) -> command.Result:
    """Begin a new round of tries for a job that was given up; the API hands it to Airflow.

    Parameters
    ----------
    id : str
        Of the job, as `autotrader jobs dlq` shows it.
    """
    actor, now = operator(), clock.now()
    event = Event(
        key=f"job/{id}/requeued/{now.isoformat()}",
        type=EventType.AUDIT,
        severity="info",
        message=f"{actor} requeued the job {id}",
        actor=actor,
        at=now,
        data={"job": id},
    )
    job = jobs.requeue(id, actor=actor, now=now, event=event)
    return command.Result(job, f"{id} is asked for again, try {job.tries}")


if __name__ == "__main__":
    raise SystemExit(command.run(requeue))
