"""Show what waits for sign-offs, and who decided what."""

from __future__ import annotations

from autotrader import command
from autotrader.access.sign_off import SignOff, judge
from autotrader.config.settings import Settings
from autotrader.ports.approvals import Approvals
from autotrader.ports.clock import WallClock


def list_approvals(
    *,
    version: str | None = None,
    model: str | None = None,
    settings: Settings,
    approvals: Approvals,
    clock: WallClock,
) -> command.Result:
    """Show what waits for sign-offs, and who decided what and why, newest first.

    Parameters
    ----------
    version : str
        Semver; default: all versions.
    model : str
        Registered model; default: the strategy's.
    """
    name = model or settings.strategy.strategy_id
    requests = approvals.requests(name, version=version)
    found = [judge(request, approvals.decisions(request.id), now=clock.now()) for request in requests]
    return command.Result({"approvals": found}, "\n".join(map(_text, found)) or "nothing was asked for")


def _text(found: SignOff) -> str:
    subject, request = found.subject, found.request
    assert request is not None  # noqa: S101 - judged from one
    lines = [
        f"{subject.model} {subject.version}  {found.state}: {found.reason}",
        f"  asked for by {', '.join(request.submitters)} at {request.requested_at:%F %R} UTC "
        f"(ONNX {subject.onnx_sha256[:12]}, gate report {subject.gate_report_sha256[:12]})",
        *(
            f"  {made.at:%F %R}  {made.identity} for {made.role.department}: {made.decision} ({made.reason})"
            for made in found.decisions
        ),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(command.run(list_approvals))
