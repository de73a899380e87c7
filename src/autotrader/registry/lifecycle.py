"""What a version may become, and what makes it whole. Every registry adapter asks here.

A version begins as `candidate` (it passed the gates that its environment enforces) or `rejected`.
That beginning is written down once, in its tag `gates`, and decides for ever whether it may go
live: no later change of status can launder a model that failed.
"""

from __future__ import annotations

from collections.abc import Mapping

from autotrader.domain.errors import BadData, ConfigurationError, Refused
from autotrader.ports.registry import Alias, ModelStatus, ModelVersion, StatusChange

# Without one of these a version is not whole: readers pass over it.
REQUIRED_TAGS = (
    "semver",
    "status",
    "reason",
    "git_sha",
    "data_versions",
    "feature_set",
    "onnx_sha256",
    "training_run",
    "training_key",
    "gates",
    "digests",
)
# Those that only training knows.
CANDIDATE_TAGS = ("git_sha", "data_versions", "feature_set")

LIVE = frozenset({ModelStatus.STAGING, ModelStatus.CANARY, ModelStatus.PRODUCTION})
DEAD = frozenset({ModelStatus.FAILED, ModelStatus.REJECTED})

GATES_PASSED = "passed"
GATES_FAILED = "failed"


def require_reason(reason: str) -> str:
    """The reason without surrounding space.

    Raises
    ------
    ConfigurationError
        If nothing is left.
    """
    if not reason.strip():
        raise ConfigurationError("expected a reason for the change, was empty: say why")
    return reason.strip()


def gates_of(status: ModelStatus) -> str:
    """What the status given at registration says of the gates.

    Raises
    ------
    Refused
        If it is none that a new version may have.
    """
    match status:
        case ModelStatus.CANDIDATE:
            return GATES_PASSED
        case ModelStatus.REJECTED:
            return GATES_FAILED
    raise Refused(f"expected a new version to be candidate or rejected, was {status}")


def require_candidate_tags(tags: Mapping[str, str]) -> None:
    """Raise BadData if training left out what only it knows."""
    missing = [tag for tag in CANDIDATE_TAGS if tag not in tags]
    if missing:
        raise BadData(f"expected tags {', '.join(CANDIDATE_TAGS)}, was without {', '.join(missing)}")


def require_status_allowed(version: ModelVersion, status: ModelStatus) -> None:
    """Raise Refused if the version must not have this status."""
    if status in LIVE or status is ModelStatus.CANDIDATE:
        _require_gates_passed(version, status)
    if status in LIVE and version.status in DEAD:
        raise Refused(
            f"expected a version that may be {status}, was {version.semver} with status {version.status} "
            f"({version.reason}): make it candidate again first (python -m"
            f" autotrader.registry.make_candidate --version {version.semver} --reason REASON)"
        )


def require_expected(version: ModelVersion, change: StatusChange) -> None:
    """Raise Refused if the version has another status than the change is to be made from."""
    if change.expected is not None and version.status is not change.expected:
        raise Refused(
            f"expected {version.semver} to be {change.expected}, was {version.status} ({version.reason}): "
            "nothing was changed"
        )


def require_alias_allowed(version: ModelVersion, alias: Alias) -> None:
    """Raise Refused if the alias must not point at the version."""
    reason = why_not_live(version)
    if reason is not None and alias is not Alias.PREVIOUS:
        raise Refused(f"expected a version that may be {alias}, was {version.semver}: {reason}")


def why_not_live(version: ModelVersion) -> str | None:
    """Why the version must not serve, or None if it may."""
    if version.status in DEAD:
        return f"it is {version.status} ({version.reason})"
    if version.tags.get("gates") != GATES_PASSED:
        return "it never passed its gates"
    return None


def _require_gates_passed(version: ModelVersion, status: ModelStatus) -> None:
    if version.tags.get("gates") != GATES_PASSED:
        raise Refused(
            f"expected a version that may be {status}, was {version.semver}: it never passed its gates"
        )
