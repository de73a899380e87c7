"""What remains of a version that was left: the colour that still runs it."""

from __future__ import annotations

from autotrader.domain.errors import Refused
from autotrader.domain.rollout import RolloutState
from autotrader.ports.deployment import DeploymentRecords, Slot, SlotState


def slot_of(records: DeploymentRecords, version: str) -> Slot | None:
    """The colour that is meant to run the version; None where none is."""
    return next(
        (s for s in records.slots().values() if s.version == version and s.state is not SlotState.EMPTY), None
    )


def require_left(records: DeploymentRecords, version: str) -> None:
    """Raise Refused while the version is live, or being rolled out."""
    live, active = records.live(), records.active()
    if live is not None and live.version == version:
        raise Refused(f"expected a version that was left, was {version}, which is live: nothing was changed")
    if active is not None and active.version == version and active.state is not RolloutState.ROLLING_BACK:
        raise Refused(
            f"expected a version that was left, was {version}, at {active.stage} of its rollout:"
            " nothing was changed"
        )
