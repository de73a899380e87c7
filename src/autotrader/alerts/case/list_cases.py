"""Show cases."""

from __future__ import annotations

from autotrader import command
from autotrader.ports.alerts import Alerts


def list_cases(*, all: bool = False, limit: int = 100, alerts: Alerts) -> command.Result:
    """Show cases, newest first; by default those that are open.

    Parameters
    ----------
    all : bool
        Closed ones, too.
    limit : int
        At most so many.
    """
    found = alerts.cases(open_only=not all, limit=limit)
    lines = [
        f"{case.id}  {'closed' if case.closed_at else 'open':<7}{case.opened_at:%F %R} UTC  "
        f"{case.owner}: {case.title}"
        for case in found
    ]
    return command.Result({"cases": found}, "\n".join(lines) or "no cases")


if __name__ == "__main__":
    raise SystemExit(command.run(list_cases))
