"""Whether the platform may go to work: `python -m autotrader.readiness.check`."""

from __future__ import annotations

from collections.abc import Sequence

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.domain.errors import ConfigurationError, ExitCode
from autotrader.domain.thresholds import READINESS
from autotrader.readiness.findings import State
from autotrader.readiness.stages import STAGES, StageName, StageReport, run

_MARKS = {
    State.OK: "ok",
    State.WARNING: "WARNING",
    State.FAILED: "FAILED",
    State.NOT_APPLICABLE: "not applicable",
}


def check(
    *,
    only: tuple[StageName, ...] | None = None,
    details: bool = False,
    patience_seconds: float = READINESS.stage_seconds,
    settings: Settings,
) -> command.Result:
    """Look at all that production stands on, in ten stages; nothing is changed. Exit code 1 if one failed.

    Parameters
    ----------
    only : tuple of StageName
        These stages alone.
    details : bool
        Show what is well, too.
    patience_seconds : float
        With one stage.
    """
    if patience_seconds <= 0:
        raise ConfigurationError(f"expected patience of more than 0 s, was {patience_seconds:g}")
    reports = [
        run(stage, settings, patience_seconds=patience_seconds)
        for stage in STAGES
        if only is None or stage.name in only
    ]
    state = max((r.state for r in reports), key=list(State).index)
    data = {"environment": settings.environment, "verdict": state, "stages": reports}
    code = ExitCode.FAILED if state is State.FAILED else ExitCode.DONE
    return command.Result(data, render(reports, settings.environment, details=details), code)


def render(reports: Sequence[StageReport], environment: str, *, details: bool) -> str:
    """A table of the stages, then all that is to be done."""
    lines = [f"Production check of {environment}", ""]
    for number, report in enumerate(reports, start=1):
        state = _MARKS[report.state]
        lines.append(f"{number:>2}  {report.title:<28}{state:<15}{report.seconds:>5.1f} s  {report.reason}")
    if details:
        lines += ["", "All findings"]
        for report in reports:
            lines.append(report.title)
            lines += [f"  {_MARKS[f.state]:<15}{f.subject}: {f.reason}" for f in report.findings]
    todo = [
        (report, finding)
        for state in (State.FAILED, State.WARNING)
        for report in reports
        for finding in report.findings
        if finding.state is state
    ]
    if todo:
        lines += ["", "To do"]
    for report, finding in todo:
        lines.append(f"  {_MARKS[finding.state]:<8} {report.name}: {finding.subject}: {finding.reason}")
        lines.append(f"           {finding.todo}")
    counts = [f"{sum(r.state is state for r in reports)} {state.value}" for state in State]
    return "\n".join([*lines, "", f"{len(reports)} stages: {', '.join(reversed(counts))}"])


if __name__ == "__main__":
    raise SystemExit(command.run(check))
