"""The post-mortem page of a case."""

from __future__ import annotations

from pathlib import Path

from autotrader import command
from autotrader.alerts.mail import page
from autotrader.domain.errors import Refused
from autotrader.files import storage_errors
from autotrader.ports.alerts import Alerts, Case


def report(*, case: str, output: Path | None = None, alerts: Alerts) -> command.Result:
    """Print the page that a post-mortem begins with: alerts and timeline are filled in.

    Parameters
    ----------
    case : str
        Id of the case.
    output : Path or None
        A new file to write it to.
    """
    found = alerts.case(case)
    text = post_mortem(found)
    if output is None:
        return command.Result({"case": found, "page": text}, text)
    if output.exists():
        raise Refused(f"expected a new file, was {output}, which is there: what people wrote is kept")
    with storage_errors(f"write {output}"):
        output.write_text(text)
    return command.Result({"case": found, "path": output}, f"wrote {output}")


def post_mortem(case: Case) -> str:
    """The page, as Markdown."""
    lasted = case.closed_at - case.opened_at if case.closed_at else None
    return page("post_mortem", case=case, minutes=round(lasted.total_seconds() / 60) if lasted else None)


if __name__ == "__main__":
    raise SystemExit(command.run(report))
