"""What leaving a version means, as things stand: decided from what is recorded, never remembered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import structlog

from autotrader.deployment import requests
from autotrader.domain.errors import Refused, Unreachable
from autotrader.domain.rollout import DIRECT, Color, RolloutState, Stage
from autotrader.domain.thresholds import ROLLBACK_NAMED
from autotrader.ports.deployment import DeploymentRecords, Rollout
from autotrader.ports.registry import ModelRegistry

log = structlog.get_logger(__name__)


class Way(StrEnum):
    """How traffic gets back."""

    TAKE_BACK = "take_back"  # a rollout is under way: its candidate is left
    SWITCH = "switch"  # what is live is left, for the version before or a named one
    WAIT = "wait"  # somebody began that switch already
    NOTHING = "nothing"  # the version has no traffic any more


@dataclass(frozen=True, slots=True)
class WayBack:
    """What a rollback would do now.

    Attributes
    ----------
    way : Way
    left : str
        Version that is left.
    to : str or None
        Version that has all traffic afterwards; None: nobody answers, as before the rollout.
    color : Color or None
        Where `to` answers, or will; None where nobody does.
    rollout : Rollout or None
        The one under way that is taken back, or waited for.
    """

    way: Way
    left: str
    to: str | None
    color: Color | None
    rollout: Rollout | None = None

    def __str__(self) -> str:
        target = f"{self.to} on {self.color}" if self.to else "nobody: nothing was live before"
        match self.way:
            case Way.TAKE_BACK:
                return f"the rollout of {self.left} is taken back, all traffic goes to {target}"
            case Way.SWITCH:
                return f"all traffic goes from {self.left} to {target}"
            case Way.WAIT:
                return f"the switch from {self.left} to {target} was begun already, and is waited for"
            case Way.NOTHING:
                return f"{self.left} has no traffic any more: it is on {target}"


def way_back(
    records: DeploymentRecords,
    registry: ModelRegistry,
    model: str,
    *,
    version: str | None = None,
    to_version: str | None = None,
    now: datetime,
) -> WayBack:
    """Decide what it takes to leave a version.

    Parameters
    ----------
    version : str or None
        To leave; None is the candidate of the rollout under way, else what is live. It must be named
        while traffic is being switched at once, and `ROLLBACK_NAMED` after.
    to_version : str or None
        To return to; None is the version that was live before. Named, `version` must be live.
    now : datetime
        Wall time, UTC.

    Raises
    ------
    NotFound
        If a version is unknown.
    Refused
        If there is nothing to return to, or what there is must not serve, or the version to leave
        is not live though both ends were named, or another rollout is under way, or it is not clear
        which version to leave.
    """
    if version is None and to_version is None:
        _require_clear(records, now)
    active, live = records.active(), records.live()
    left = _semver(registry, model, version, active, live)
    if active is not None and left in (None, active.version) and to_version is None:
        over = active.state is RolloutState.ROLLING_BACK and left is not None
        color = None if active.previous_version is None else active.candidate.other
        way = Way.NOTHING if over else Way.TAKE_BACK
        return WayBack(way, active.version, active.previous_version, color, active)
    if live is None or (left is not None and left != live.version):
        return _left_already(live, left, to_version)
    back = live.previous_version if to_version is None else registry.get(model, to_version).semver
    if back is None:
        raise Refused("expected a version to return to, was none live before: nothing was changed")
    if back == live.version:
        raise Refused(f"expected another version than {back}, which is to be left: nothing was changed")
    require_may_serve(registry, model, back, was_checked=back == live.previous_version)
    if active is None:
        return WayBack(Way.SWITCH, live.version, back, live.candidate.other)
    if active.version == back and active.state is not RolloutState.ROLLING_BACK:
        return WayBack(Way.WAIT, live.version, back, active.candidate, active)
    raise requests_refused(active, live)


def requests_refused(active: Rollout, live: Rollout) -> Refused:
    """The refusal of leaving what is live while another version comes up."""
    return Refused(
        f"expected no rollout under way, was {active.version} on {active.candidate} ({active.state},"
        f" requested by {active.requested_by}): roll that one back first, then {live.version};"
        " nothing was changed"
    )


def _require_clear(records: DeploymentRecords, now: datetime) -> None:
    """Raise Refused where a version was just left for another: which of the two is meant now?

    One that was taken back changed nothing: what is live still is what was meant.
    """
    newest = next(iter(records.recent(1)), None)
    if newest is None or newest.previous_version is None:
        return
    if newest.profile != DIRECT.name or newest.goal is not Stage.FINALIZE:
        return
    by, left, to = newest.requested_by, newest.previous_version, newest.version
    if not newest.state.is_over:
        raise Refused(
            f"expected --version, since {by} began to leave {left} for {to} at"
            f" {newest.created_at:%F %T} UTC ({newest.state}): name {left} to go on with that, {to} to"
            " cancel it; nothing was changed"
        )
    ended = newest.ended_at
    if newest.state is RolloutState.COMPLETED and ended is not None and now - ended < ROLLBACK_NAMED:
        raise Refused(
            f"expected --version, since {by} left {left} for {to} at {ended:%F %T} UTC"
            f" ({newest.reason}): to leave {to}, which is live now, say --version {to}; nothing was changed"
        )


def _semver(
    registry: ModelRegistry, model: str, version: str | None, active: Rollout | None, live: Rollout | None
) -> str | None:
    """What is recorded as rolled out needs no registry to be known."""
    if version is None or version in {r.version for r in (active, live) if r is not None}:
        return version
    return registry.get(model, version).semver


def _left_already(live: Rollout | None, left: str | None, to_version: str | None) -> WayBack:
    if left is None:
        raise Refused("expected a version to return to, was none live before: nothing was changed")
    if to_version is not None and (live is None or live.version != to_version):
        was = f"{live.version} on {live.candidate}" if live else "nothing"
        raise Refused(f"expected {left} to be live, was {was}: nothing was changed")
    return WayBack(Way.NOTHING, left, live.version if live else None, live.candidate if live else None)


def require_may_serve(registry: ModelRegistry, model: str, version: str, *, was_checked: bool) -> None:
    """Raise unless it passed its gates, and did not fail since.

    Parameters
    ----------
    was_checked : bool
        Whether it had to pass them before, being live or rolled out: should nobody answer now, that does.

    Raises
    ------
    Refused, NotFound, Unreachable
    """
    try:
        requests.deployable(registry, model, version)
    except Unreachable as error:
        if not was_checked:
            raise
        log.warning("the registry could not be asked about its gates", version=version, reason=str(error))
