"""A model registry that forgets with the process, and can be made unreachable."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from autotrader.domain.errors import BadData, NotFound, Refused, Unreachable
from autotrader.ports.events import Event, EventLog, EventType
from autotrader.ports.registry import (
    Alias,
    AliasChange,
    ModelCandidate,
    ModelStatus,
    ModelVersion,
    StatusChange,
)
from autotrader.registry.lifecycle import (
    gates_of,
    require_alias_allowed,
    require_candidate_tags,
    require_expected,
    require_reason,
    require_status_allowed,
)
from autotrader.registry.semver import Semver, next_semver
from tests.fakes.events import InMemoryEventLog


class InMemoryRegistry:
    """`artifacts` may be spoilt by a test to see that digests are verified."""

    def __init__(self, events: EventLog | None = None) -> None:
        self.events = events or InMemoryEventLog()
        self.reachable = True
        self.artifacts: dict[tuple[str, str, str], bytes] = {}  # by name, semver and file
        self._digests: dict[tuple[str, str, str], str] = {}
        self._versions: list[ModelVersion] = []
        self._aliases: dict[tuple[str, Alias], str] = {}
        self._event_ids = itertools.count(1)

    def register(self, candidate: ModelCandidate, *, actor: str) -> ModelVersion:
        self._require_server()
        reason = require_reason(candidate.reason)
        gates = gates_of(candidate.status)
        require_candidate_tags(candidate.tags)
        named = [v for v in self._versions if v.name == candidate.name]
        for version in named:
            if version.tags["training_key"] == candidate.training_key:
                return self._with_aliases(version)
            if version.run_id == candidate.run_id:
                raise Refused(f"expected a run of its own for the model, was {candidate.run_id}")
        onnx = candidate.onnx_path.read_bytes()
        digest = hashlib.sha256(onnx).hexdigest()
        if candidate.tags.get("onnx_sha256", digest) != digest:
            raise BadData(f"expected the ONNX file that was judged, was {digest}")
        semver = str(next_semver(s for v in named if (s := Semver.parse(v.semver))))
        tags = {
            "semver": semver,
            "onnx_sha256": digest,
            "training_run": candidate.run_id,
            "training_key": candidate.training_key,
            "gates": gates,
        }
        version = ModelVersion(
            name=candidate.name,
            version=len(named) + 1,
            semver=semver,
            status=candidate.status,
            reason=reason,
            aliases=(),
            onnx_sha256=digest,
            run_id=candidate.run_id,
            created_at=datetime.now(UTC),
            tags={**candidate.tags, **tags},
        )
        self._versions.append(version)
        self.artifacts[version.name, semver, "model.onnx"] = onnx
        native = f"model{candidate.native_path.suffix}"
        self.artifacts[version.name, semver, native] = candidate.native_path.read_bytes()
        for file, path in candidate.attachments.items():
            self.artifacts[version.name, semver, file] = path.read_bytes()
        for (name, given, file), content in self.artifacts.items():
            if (name, given) == (version.name, semver):
                self._digests[name, given, file] = hashlib.sha256(content).hexdigest()
        self._record(version, "registered", None, version.status.value, reason, actor)
        return self._with_aliases(version)

    def get(self, name: str, version: str) -> ModelVersion:
        self._require_server()
        return self._with_aliases(self._find(name, version))

    def list(self, name: str) -> Sequence[ModelVersion]:
        self._require_server()
        return [self._with_aliases(v) for v in reversed(self._versions) if v.name == name]

    def set_status(
        self, name: str, version: str, status: ModelStatus, *, reason: str, actor: str
    ) -> ModelVersion:
        self.change(name, [StatusChange(version, status)], reason=reason, actor=actor)
        return self.get(name, version)

    def set_alias(self, name: str, alias: Alias, version: str | None, *, reason: str, actor: str) -> None:
        self.change(name, [AliasChange(alias, version)], reason=reason, actor=actor)

    def change(
        self, name: str, changes: Sequence[StatusChange | AliasChange], *, reason: str, actor: str
    ) -> None:
        reason = require_reason(reason)
        self._require_server()
        before = (list(self._versions), dict(self._aliases))
        done: list[tuple[ModelVersion, str, str | None, str | None]] = []
        try:
            for change in changes:
                match change:
                    case StatusChange():
                        done += self._change_status(name, change, reason)
                    case AliasChange():
                        done += self._change_alias(name, change)
        except (NotFound, Refused):
            self._versions, self._aliases = before
            raise
        for version, kind, old, new in done:
            self._record(version, kind, old, new, reason, actor)

    def fetch_artifact(self, version: ModelVersion, file_name: str, folder: Path) -> Path:
        self._require_server()
        content = self.artifacts.get((version.name, version.semver, file_name))
        if content is None:
            raise NotFound(f"expected an artefact of {version.semver}, was {file_name!r}")
        expected = self._digests[version.name, version.semver, file_name]
        if hashlib.sha256(content).hexdigest() != expected:
            raise BadData(f"expected {file_name} with SHA-256 {expected}, was another")
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / file_name
        target.write_bytes(content)
        return target

    def _change_status(
        self, name: str, change: StatusChange, reason: str
    ) -> list[tuple[ModelVersion, str, str | None, str | None]]:
        old = self._find(name, change.version)
        if (old.status, old.reason) == (change.status, reason):
            return []
        require_expected(old, change)
        require_status_allowed(old, change.status)
        self._versions[self._versions.index(old)] = replace(old, status=change.status, reason=reason)
        return [(old, "status", old.status.value, change.status.value)]

    def _change_alias(
        self, name: str, change: AliasChange
    ) -> list[tuple[ModelVersion, str, str | None, str | None]]:
        key = (name, change.alias)
        old = self._aliases.get(key)
        new = None if change.version is None else self._find(name, change.version)
        if old == (new.semver if new else None):
            return []
        if change.expected is not None and old != self._find(name, change.expected).semver:
            raise Refused(f"expected {change.alias} to be {change.expected}, was {old or 'none'}")
        if new is None:
            subject = self._find(name, self._aliases.pop(key))
        else:
            require_alias_allowed(new, change.alias)
            self._aliases[key] = new.semver
            subject = new
        return [(subject, change.alias.value, old, new.semver if new else None)]

    def _find(self, name: str, version: str) -> ModelVersion:
        if version in set(Alias):
            version = self._aliases.get((name, Alias(version)), version)
        for known in self._versions:
            if known.name == name and version in (known.semver, str(known.version)):
                return known
        raise NotFound(f"expected a version of {name}, was {version!r}")

    def _with_aliases(self, version: ModelVersion) -> ModelVersion:
        held = (a for (name, a), v in self._aliases.items() if (name, v) == (version.name, version.semver))
        now = {"status": version.status.value, "reason": version.reason}
        return replace(version, aliases=tuple(sorted(held)), tags={**version.tags, **now})

    def _record(
        self, version: ModelVersion, kind: str, old: str | None, new: str | None, reason: str, actor: str
    ) -> None:
        self.events.record(
            Event(
                key=f"registry:{version.name}:{next(self._event_ids)}",
                type=EventType.REGISTRY,
                severity="warning" if new == ModelStatus.FAILED else "info",
                message=f"{version.name} {version.semver}: {kind} {old} -> {new} ({reason})",
                actor=actor,
                at=datetime.now(UTC),
                data={
                    "name": version.name,
                    "semver": version.semver,
                    "kind": kind,
                    "old": old,
                    "new": new,
                    "reason": reason,
                },
            )
        )

    def _require_server(self) -> None:
        if not self.reachable:
            raise Unreachable("expected the model registry to answer, was switched off: try again")
