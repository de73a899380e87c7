"""Which version serves after a disaster: the last that was live and passed its gates, not the newest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from autotrader.db.deployment_records import SqlDeploymentRecords
from autotrader.db.engine import reading
from autotrader.db.tables import MODEL_VERSIONS
from autotrader.domain.errors import NotFound
from autotrader.domain.rollout import Color, RolloutState
from autotrader.ports.deployment import Slot, SlotState
from autotrader.ports.objects import ObjectStore
from autotrader.ports.registry import ModelStatus
from autotrader.registry.lifecycle import DEAD, GATES_PASSED

_MODEL = "model.onnx"
_RELEASE = "release.json"
_LOOKED_AT = 100


@dataclass(frozen=True, slots=True)
class Serving:
    """What is to serve, and where.

    Attributes
    ----------
    color : Color
        Of what is recorded as live; of another version, the other one, as a rollout of it would have it.
    passed_over : tuple of str
        Versions that were live later, each with why it is not taken; what is recorded as live is one of
        them unless there are none.
    """

    version: str
    onnx_sha256: str
    uri: str
    color: Color
    passed_over: tuple[str, ...]


def serving_version(engine: Engine, releases: ObjectStore, strategy_id: str) -> Serving | None:
    """The last version that was live, passed its gates, and of which a sound release is there.

    Parameters
    ----------
    releases : ObjectStore
        `<version>/model.onnx` and `<version>/release.json`.

    Returns
    -------
    Serving or None
        None where nothing was ever live.

    Raises
    ------
    NotFound
        If none of those that were live may serve.
    """
    records = SqlDeploymentRecords(engine, strategy_id)
    live = records.live()
    if live is None:
        return None
    passed_over: list[str] = []
    for version in dict.fromkeys(_once_live(records)):
        digest, fault = _judged(engine, version, strategy_id)
        fault = fault or _release_fault(releases, version, digest)
        if fault is None:
            color = live.candidate if version == live.version else live.candidate.other
            return Serving(version, digest, f"{releases.uri}/{version}", color, tuple(passed_over))
        passed_over.append(f"{version}: {fault}")
    raise NotFound(f"expected a version that was live and may serve, was none: {'; '.join(passed_over)}")


def slots_of(
    serving: Serving, state: SlotState, *, endpoint: str, reason: str, now: datetime, actor: str
) -> Iterator[Slot]:
    """One a colour: that which serves in this state, the other one empty."""
    for color in Color:
        is_serving = color is serving.color
        yield Slot(
            color=color,
            state=state if is_serving else SlotState.EMPTY,
            version=serving.version if is_serving else None,
            onnx_sha256=serving.onnx_sha256 if is_serving else None,
            endpoint=endpoint if is_serving else None,
            reason=reason,
            changed_at=now,
            changed_by=actor,
        )


def _once_live(records: SqlDeploymentRecords) -> Iterator[str]:
    for rollout in records.recent(_LOOKED_AT):
        if rollout.state is RolloutState.COMPLETED:
            yield rollout.version
            if rollout.previous_version:
                yield rollout.previous_version


def _judged(engine: Engine, version: str, strategy_id: str) -> tuple[str, str | None]:
    major, minor, patch = version.removeprefix("v").split(".")
    query = sa.select(MODEL_VERSIONS.c.status, MODEL_VERSIONS.c.tags, MODEL_VERSIONS.c.digests).where(
        MODEL_VERSIONS.c.name == strategy_id,
        MODEL_VERSIONS.c.major == int(major),
        MODEL_VERSIONS.c.minor == int(minor),
        MODEL_VERSIONS.c.patch == int(patch),
    )
    with reading(engine) as connection:
        row = connection.execute(query).first()
    if row is None:
        return "", "the registry does not know it"
    if ModelStatus(row.status) in DEAD:
        return "", f"its status is {row.status}"
    if row.tags.get("gates") != GATES_PASSED:
        return "", "it did not pass its gates"
    return str(row.digests[_MODEL]), None


def _release_fault(releases: ObjectStore, version: str, digest: str) -> str | None:
    try:
        found = hashlib.sha256(releases.read(f"{version}/{_MODEL}")).hexdigest()
        said = json.loads(releases.read(f"{version}/{_RELEASE}"))["onnx_sha256"]
    except NotFound:
        return f"its release is not in {releases.uri}"
    if {found, said} != {digest}:
        return f"its release in {releases.uri} is not the one that was registered"
    return None
