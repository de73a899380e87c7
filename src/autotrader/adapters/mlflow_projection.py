"""Brings MLflow to agree with our database, and our database to know what MLflow has.

Nothing here decides: what our database says is written where MLflow says otherwise, and what only
MLflow has (a version whose creation we did not live to note, or that of another database) is taken
in if it is whole. All of it may be done again at any time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from autotrader.adapters.mlflow_model import ONNX_FILE
from autotrader.adapters.mlflow_rest import MlflowRest
from autotrader.db.model_records import ModelRecords
from autotrader.db.model_rows import Change
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventLog, EventType
from autotrader.ports.registry import Alias, AliasChange, ModelStatus, ModelVersion
from autotrader.registry.lifecycle import REQUIRED_TAGS, why_not_live
from autotrader.registry.semver import Semver

_ADOPTER = "mlflow"

log = structlog.get_logger(__name__)


class MlflowProjection:
    """What MLflow shows of the records.

    Parameters
    ----------
    mlflow : MlflowRest
    records : ModelRecords
    events : EventLog
    wall_clock : WallClock
    """

    def __init__(
        self, mlflow: MlflowRest, records: ModelRecords, events: EventLog, wall_clock: WallClock
    ) -> None:
        self._mlflow = mlflow
        self._records = records
        self._events = events
        self._clock = wall_clock

    def converge(self, name: str) -> set[Semver]:
        """Bring MLflow to agree; returns the semvers it knows. The caller holds the lock."""
        self.record_events(name)
        pending = self._records.pending(name)
        shown = list(
            self._mlflow.pages(
                "GET", "model-versions/search", "model_versions", filter=f"name='{name}'", max_results=1000
            )
        )
        shown.sort(key=lambda v: int(v["version"]))
        tags_of = {int(v["version"]): {t["key"]: t["value"] for t in v.get("tags", [])} for v in shown}
        self._take_in(name, shown, tags_of)
        self._show_tags(name, tags_of)
        if tags_of:
            self._show_aliases(name, tags_of)
        self._records.mark_projected(pending)
        self.record_events(name)
        semvers = (Semver.parse(tags.get("semver", "")) for tags in tags_of.values())
        return {semver for semver in semvers if semver}

    def _take_in(
        self, name: str, shown: Sequence[dict[str, Any]], tags_of: dict[int, dict[str, str]]
    ) -> None:
        """Note what MLflow has and we do not know (ours cut short, another database's), or has lost."""
        for record in self._records.registered(name):
            if tags_of.get(record.version.version, {}).get("training_key") != record.training_key:
                log.error("version_missing_in_mlflow", name=name, semver=record.version.semver)
                self._records.lose(record, actor=_ADOPTER, at=self._clock.now())
        for entry in shown:
            number = int(entry["version"])
            tags = tags_of[number]
            if not all(tag in tags for tag in REQUIRED_TAGS):
                continue
            records = self._records.all(name)
            ours = next((r for r in records if r.training_key == tags["training_key"]), None)
            if ours is None:
                self._adopt(entry, tags, {r.version.semver for r in records})
            elif not ours.is_registered:
                self._records.finish(ours, number=number, source=entry["source"], at=self._clock.now())
            elif ours.version.version != number:
                # A creation that was sent, not answered, and repeated: the same files twice.
                log.warning("duplicate_version_removed", name=name, number=number, kept=ours.version.version)
                self._mlflow.delete("model-versions/delete", name=name, version=str(number))
                del tags_of[number]

    def _adopt(self, entry: Mapping[str, Any], tags: Mapping[str, str], semvers: set[str]) -> None:
        number, status, digests = int(entry["version"]), tags["status"], _digests(tags)
        is_new = Semver.parse(tags["semver"]) is not None and tags["semver"] not in semvers
        if not is_new or status not in set(ModelStatus) or digests is None:
            log.warning("foreign_version_ignored", number=number, semver=tags["semver"], status=status)
            return
        version = ModelVersion(
            name=entry["name"],
            version=number,
            semver=tags["semver"],
            status=ModelStatus(status),
            reason=tags["reason"],
            aliases=(),
            onnx_sha256=tags["onnx_sha256"],
            run_id=tags["training_run"],
            created_at=datetime.fromtimestamp(int(entry["creation_timestamp"]) / 1000, UTC),
            tags=tags,
        )
        self._records.adopt(
            version, digests=digests, source=entry["source"], actor=_ADOPTER, at=self._clock.now()
        )

    def _show_tags(self, name: str, tags_of: Mapping[int, Mapping[str, str]]) -> None:
        for record in self._records.registered(name):
            number, wanted = record.version.version, record.version.tags
            for key in sorted(wanted, key=lambda k: (k == "status", k)):
                if tags_of[number].get(key) != wanted[key]:
                    self._mlflow.post(
                        "model-versions/set-tag", name=name, version=str(number), key=key, value=wanted[key]
                    )

    def _show_aliases(self, name: str, tags_of: Mapping[int, Mapping[str, str]]) -> None:
        model = self._mlflow.get("registered-models/get", name=name)["registered_model"]
        shown = {a["alias"]: int(a["version"]) for a in model.get("aliases", [])}
        decided = self._records.aliases(name)
        for alias in Alias:
            number = shown.get(alias.value)
            if alias not in decided:
                if number is None or self._adopt_alias(name, alias, number):
                    continue
                wanted = None
            else:
                wanted = decided[alias]
            if wanted == number or (wanted is not None and wanted not in tags_of):
                continue
            if wanted is None:
                self._mlflow.delete("registered-models/alias", name=name, alias=alias.value)
            else:
                self._mlflow.post(
                    "registered-models/alias", name=name, alias=alias.value, version=str(wanted)
                )

    def _adopt_alias(self, name: str, alias: Alias, number: int) -> bool:
        """Take over an alias that we never decided on, if it may point there."""
        record = self._records.find(name, str(number))
        why_not = "it is not a whole version" if record is None else why_not_live(record.version)
        if why_not:
            log.warning("foreign_alias_removed", name=name, alias=alias.value, number=number, reason=why_not)
            return False
        self._records.decide(
            name,
            [AliasChange(alias, str(number))],
            reason="found in MLflow",
            actor=_ADOPTER,
            at=self._clock.now(),
            projected=True,
        )
        return True

    def record_events(self, name: str) -> None:
        for change in self._records.unrecorded(name):
            self._events.record(_event(change))
            self._records.mark_recorded(change)


def _event(change: Change) -> Event:
    return Event(
        key=f"registry:{change.name}:{change.id}",
        type=EventType.REGISTRY,
        severity="warning" if change.new == ModelStatus.FAILED else "info",
        message=str(change),
        actor=change.actor,
        at=change.at,
        data={
            "name": change.name,
            "semver": change.semver,
            "kind": change.kind,
            "old": change.old,
            "new": change.new,
            "reason": change.reason,
        },
    )


def _digests(tags: Mapping[str, str]) -> dict[str, str] | None:
    try:
        digests = json.loads(tags["digests"])
    except ValueError:
        return None
    agrees = isinstance(digests, dict) and digests.get(ONNX_FILE) == tags["onnx_sha256"]
    return digests if agrees else None
