"""What the registry says of a version, and whether the file is the one that it speaks of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from autotrader.config.settings import Environment
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.verdicts import Finding, Severity
from autotrader.features.definitions import FeatureSet
from autotrader.ports.registry import ModelVersion
from autotrader.registry.lifecycle import GATES_PASSED, why_not_live
from autotrader.registry.onnx_model import OnnxModel

# Where performance gates decide; elsewhere they advise, so that what passed there may be no good.
_ENFORCE_ALL = frozenset({Environment.STAGING, Environment.PRODUCTION})


def check_gates(version: ModelVersion, environment: Environment) -> Finding:
    """It passed the gates that this environment enforces, and nothing bad became of it since."""
    judged_in = version.tags.get("environment", "an unknown environment")
    evidence = {
        "status": version.status,
        "gates": version.tags.get("gates"),
        "decision": version.tags.get("decision"),
        "judged_in": judged_in,
        "environment": environment,
    }
    reason = why_not_live(version)
    if reason is not None:
        return Finding("gates", Severity.CRITICAL, f"{version.semver} must not serve: {reason}", evidence)
    if environment in _ENFORCE_ALL and judged_in not in _ENFORCE_ALL:
        reason = (
            f"expected a version that all gates decided on, as {environment} enforces them, was "
            f"{version.semver}, judged in {judged_in}: train it again there"
        )
        return Finding("gates", Severity.CRITICAL, reason, evidence)
    reason = f"{version.semver} {GATES_PASSED} the gates of {judged_in} and is {version.status}"
    return Finding("gates", Severity.HEALTHY, reason, evidence)


def check_instruments(version: ModelVersion, instruments: Sequence[InstrumentId]) -> Finding:
    """The model learnt from the instruments that it is to predict."""
    learnt = version.tags.get("instruments", "").split()
    strange = [str(i) for i in instruments if str(i) not in learnt]
    evidence = {"learnt": learnt, "strange": strange}
    if strange:
        reason = f"the model never saw {', '.join(strange)}, which it would predict"
        return Finding("instruments", Severity.WARNING, reason, evidence)
    reason = f"the model learnt from all {len(instruments)} instruments"
    return Finding("instruments", Severity.HEALTHY, reason, evidence)


def check_digests(version: ModelVersion, path: Path, model: OnnxModel) -> Finding:
    """The file has the registry's digest, and says of itself what the registry says of the version."""
    file_digest = hashlib.sha256(path.read_bytes()).hexdigest()
    pairs = {
        "sha256": (version.onnx_sha256, file_digest),
        "training_key": (version.tags.get("training_key"), model.metadata.get("training_key")),
        "feature_set": (version.tags.get("feature_set"), model.metadata.get("feature_set")),
    }
    wrong = [
        f"expected {name} {registered} of the registry, was {found} in the file"
        for name, (registered, found) in pairs.items()
        if registered is None or registered != found
    ]
    evidence = {name: {"registry": a, "file": b} for name, (a, b) in pairs.items()}
    if wrong:
        return Finding("digests", Severity.CRITICAL, "; ".join(wrong), evidence)
    return Finding("digests", Severity.HEALTHY, f"the file is {file_digest[:12]}, as registered", evidence)


def check_signature(
    version: ModelVersion, model: OnnxModel, feature_set: FeatureSet, instruments: Sequence[InstrumentId]
) -> Finding:
    """The model's inputs are features of its set, in the set's order.

    A feature that no venue of these instruments has may be missing; another that is missing is said.
    """
    names = model.feature_names
    evidence = {"inputs": len(names), "feature_set": feature_set.version}
    expected = version.tags.get("feature_set")
    if expected != feature_set.version:
        reason = f"expected the feature set {expected} of {version.semver}, was {feature_set.version} here"
        return Finding("signature", Severity.CRITICAL, reason, evidence)
    unknown = [name for name in names if name not in feature_set.names]
    if unknown:
        reason = f"expected features of {feature_set.version}, was {', '.join(unknown[:5])}"
        return Finding("signature", Severity.CRITICAL, reason, evidence | {"unknown": unknown})
    ordered = [name for name in feature_set.names if name in names]
    if ordered != list(names):
        first = next(i for i, (a, b) in enumerate(zip(names, [*ordered, None], strict=False)) if a != b)
        reason = f"expected each feature once and in the set's order, was {names[first]} as input {first}"
        return Finding("signature", Severity.CRITICAL, reason, evidence)
    venues = {i.venue for i in instruments}
    absent = [f.name for f in feature_set.features if f.name not in names and venues & set(f.venues)]
    if absent:
        reason = f"the model was trained without {', '.join(absent)}, which these venues have"
        return Finding("signature", Severity.WARNING, reason, evidence | {"absent": absent})
    reason = f"{len(names)} inputs, all of {feature_set.version} and in its order"
    return Finding("signature", Severity.HEALTHY, reason, evidence)
