"""Show one job."""

from __future__ import annotations

import json

from autotrader import command
from autotrader.apps.jobs.list_jobs import line_of
from autotrader.ports.jobs import Jobs


def show(*, id: str, jobs: Jobs) -> command.Result:
    """Show a job with its parameters, its tries and its result.

    Parameters
    ----------
    id : str
        Of the job.
    """
    job, tries = jobs.get(id), jobs.tries(id)
    lines = [line_of(job), f"  params  {json.dumps(command.to_plain(job.params))}"]
    for each in tries:
        took = "" if each.seconds is None else f" after {each.seconds:.1f} s"
        lines.append(
            f"  try {each.number}   {each.state}{took}  Airflow run {each.run_id}  {each.reason}".rstrip()
        )
    for name, value in (job.result or {}).items():
        if not isinstance(value, dict):
            lines.append(f"  {name}  {value}")
    return command.Result({"job": job, "tries": tries}, "\n".join(lines))


if __name__ == "__main__":
    raise SystemExit(command.run(show))
