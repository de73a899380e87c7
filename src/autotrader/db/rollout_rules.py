"""What a change of a rollout must keep to. Every home of deployment records asks here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from autotrader.domain.errors import Refused
from autotrader.domain.rollout import TRANSITIONS, Color, RolloutState
from autotrader.ports.deployment import Rollout, Route
from autotrader.ports.events import Event

# What a rollout is; all else is how it stands.
IDENTITY = ("id", "strategy_id", "version", "previous_version", "candidate", "requested_by", "created_at")


def first_revision(rollout: Rollout, strategy_id: str) -> Rollout:
    """The rollout as it is recorded first.

    Raises
    ------
    Refused
        If it does not begin at the beginning.
    ValueError
        If it is another strategy's.
    """
    if rollout.strategy_id != strategy_id:
        raise ValueError(f"expected a rollout of {strategy_id}, was of {rollout.strategy_id}")
    if rollout.state is not RolloutState.WORKING:
        raise Refused(f"expected a rollout that begins as {RolloutState.WORKING}, was {rollout.state}")
    return replace(rollout, revision=1)


def next_revision(seen: Rollout, new: Rollout) -> Rollout:
    """The new state as it is recorded.

    Raises
    ------
    Refused
        If the state machine has no such transition.
    ValueError
        If `new` is not the same rollout.
    """
    changed = [name for name in IDENTITY if getattr(seen, name) != getattr(new, name)]
    if changed:
        raise ValueError(f"expected the rollout {seen.id}, was another {', '.join(changed)}")
    if new.state not in TRANSITIONS[seen.state]:
        allowed = ", ".join(sorted(TRANSITIONS[seen.state])) or "nothing: it is over"
        raise Refused(
            f"expected a rollout that is {seen.state} to become {allowed}, was {new.state}: read it again"
        )
    return replace(new, revision=seen.revision + 1)


def event_of_revision(event: Event, rollout: Rollout) -> Event:
    """The event with a key that no other revision can have, so that each transition is told once."""
    return replace(event, key=f"{event.key}@{rollout.id}/{rollout.revision}")


def refuse_while(active: Rollout, wish: str) -> Refused:
    """The refusal of what needs that no rollout is under way."""
    return Refused(
        f"expected no rollout under way for {wish}, was {active.version} on {active.candidate} at "
        f"{active.stage} ({active.state}), requested by {active.requested_by} at "
        f"{active.created_at:%Y-%m-%d %H:%M:%S} UTC: wait for its end, or roll it back"
    )


def is_idle(color: Color, routes: Iterable[Route], active: Rollout | None) -> bool:
    """Whether the colour may be stopped: no route names it, and no rollout is under way."""
    return active is None and not any(color in (route.color, route.fallback) for route in routes)


def require_planned_on(live: Rollout | None, rollout: Rollout) -> None:
    """Raise Refused if another version has become live since the rollout was planned."""
    planned = rollout.previous_version
    found = None if live is None else f"{live.version} on {live.candidate}"
    as_planned = (
        planned is None
        if live is None
        else (planned, rollout.candidate) == (live.version, live.candidate.other)
    )
    if not as_planned:
        raise Refused(
            f"expected {planned or 'nothing'} to be live for a rollout of {rollout.version} on "
            f"{rollout.candidate}, was {found or 'nothing'}: somebody switched meanwhile, look and ask again"
        )
