"""Show the dead letters."""

from __future__ import annotations

from autotrader import command
from autotrader.ports.jobs import Jobs


def dlq(*, limit: int = 50, jobs: Jobs) -> command.Result:
    """Show jobs that were given up and that nobody has requeued, newest first.

    Parameters
    ----------
    limit : int
        At most so many.
    """
    found = jobs.dead_letters(limit=limit)
    shown = [
        f"{letter.job_id}  {letter.type:<9} {letter.at:%F %T} UTC  given up with try {letter.number}\n"
        f"    {letter.reason}"
        for letter in found
    ]
    return command.Result({"dead_letters": found}, "\n".join(shown) or "no job was given up")


if __name__ == "__main__":
    raise SystemExit(command.run(dlq))
