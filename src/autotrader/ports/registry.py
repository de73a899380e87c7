"""The model registry: versions, their status and aliases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable


class ModelStatus(StrEnum):
    CANDIDATE = "candidate"
    REJECTED = "rejected"
    STAGING = "staging"
    CANARY = "canary"
    PRODUCTION = "production"
    FAILED = "failed"
    ARCHIVED = "archived"


class Alias(StrEnum):
    CHAMPION = "champion"
    CHALLENGER = "challenger"
    PREVIOUS = "previous"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered version as the registry holds it now.

    Attributes
    ----------
    version : int
        Number given by the registry.
    semver : str
        `v1.2.3`: what people and runbooks call it.
    onnx_sha256 : str
        Hex digest of the ONNX file that a service may load.
    run_id : str
        Tracking run that made it.
    tags : Mapping[str, str]
        All of them, those above included.
    """

    name: str
    version: int
    semver: str
    status: ModelStatus
    reason: str
    aliases: tuple[Alias, ...]
    onnx_sha256: str
    run_id: str
    created_at: datetime
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelCandidate:
    """What training hands over for registration.

    Attributes
    ----------
    training_key : str
        Content hash of all that went into the model; registering the same key twice gives the
        same version.
    onnx_path, native_path : Path
        Serving copy, and the copy for people (skops file or native text).
    feature_names : tuple of str
        Order of the model's input columns.
    run_id : str
        Tracking run that holds parameters, metrics and reports.
    tags : Mapping[str, str]
        `git_sha`, `data_versions`, `feature_set`, ... as the contract lists them.
    attachments : Mapping[str, Path]
        Further files to keep with the model, by the name to fetch them under; no pickles.
    """

    name: str
    training_key: str
    onnx_path: Path
    native_path: Path
    feature_names: tuple[str, ...]
    run_id: str
    status: ModelStatus
    reason: str
    tags: Mapping[str, str] = field(default_factory=dict)
    attachments: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StatusChange:
    """The version is to have this status.

    Attributes
    ----------
    expected : ModelStatus or None
        Status that the version must have for the change to be made; None where any will do.
    """

    version: str
    status: ModelStatus
    expected: ModelStatus | None = None


@dataclass(frozen=True, slots=True)
class AliasChange:
    """The alias is to point at the version, or to go when None.

    Attributes
    ----------
    expected : str or None
        Version that the alias must point at for the change to be made; None where any will do.
    """

    alias: Alias
    version: str | None
    expected: str | None = None


@runtime_checkable
class ModelRegistry(Protocol):
    """All changes are idempotent, and each is an event in the log, once."""

    def register(self, candidate: ModelCandidate, *, actor: str) -> ModelVersion:
        """Make a version with its artefacts, whole or not at all; the next semver is given here."""
        ...

    def get(self, name: str, version: str) -> ModelVersion:
        """By semver (`v1.2.3`), number (`7`) or alias (`champion`).

        Raises
        ------
        NotFound
        Unreachable
        """
        ...

    def list(self, name: str) -> Sequence[ModelVersion]:
        """All versions, newest first."""
        ...

    def set_status(
        self, name: str, version: str, status: ModelStatus, *, reason: str, actor: str
    ) -> ModelVersion: ...

    def set_alias(self, name: str, alias: Alias, version: str | None, *, reason: str, actor: str) -> None:
        """Point the alias at the version, or remove it when None."""
        ...

    def change(
        self, name: str, changes: Sequence[StatusChange | AliasChange], *, reason: str, actor: str
    ) -> None:
        """Make several changes as one: all of them or none.

        Raises
        ------
        NotFound
            If a version is unknown.
        Refused
            If a change would make a version live that failed its gates, or an alias does not
            point at what was expected, or a version has not the status that was.
        ConfigurationError
            If the reason is empty.
        Unreachable
            If the changes are decided, and still have to be shown by the registry's server; the
            message says which. A later call of any kind shows them.
        """
        ...

    def fetch_artifact(self, version: ModelVersion, file_name: str, folder: Path) -> Path:
        """Copy one artefact (`model.onnx`, ...) into the folder, its digest verified."""
        ...
