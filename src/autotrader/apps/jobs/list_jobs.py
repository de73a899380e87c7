"""Show jobs."""

from __future__ import annotations

from autotrader import command
from autotrader.ports.jobs import Job, Jobs, JobState, JobType


def list_jobs(
    *, state: tuple[JobState, ...] = (), type: JobType | None = None, limit: int = 50, jobs: Jobs
) -> command.Result:
    """Show jobs, newest first: what was asked for, by whom, and how it stands.

    Parameters
    ----------
    state : tuple of JobState
        Of these states; of all if left out.
    type : JobType or None
        Of this type; of all if left out.
    limit : int
        At most so many.
    """
    found = jobs.list(type=type, states=state, limit=limit)
    return command.Result({"jobs": found}, "\n".join(map(line_of, found)) or "no jobs")


def line_of(job: Job) -> str:
    """A job in one line, and why it failed in another."""
    tries = f", try {job.tries - job.round_start + 1}" if job.tries > job.round_start else ""
    line = f"{job.id}  {job.type:<9} {job.state}{tries}  {job.asked_at:%F %T} UTC  {job.asked_by}"
    return f"{line}\n    {job.reason}" if job.reason else line


if __name__ == "__main__":
    raise SystemExit(command.run(list_jobs))
