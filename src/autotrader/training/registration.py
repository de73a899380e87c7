"""Handing a judged model to the registry, if its integrity allows."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from autotrader.config.settings import StrategySettings
from autotrader.domain.errors import Refused
from autotrader.features.reference.files import REFERENCE_FILE, save_reference
from autotrader.ports.registry import ModelCandidate, ModelRegistry, ModelStatus
from autotrader.ports.tracking import ExperimentTracker
from autotrader.training.dataset import PreparedData, open_dataset
from autotrader.training.evaluation import Evaluation
from autotrader.training.export import compare_copies
from autotrader.training.gates import Decision
from autotrader.training.out_of_sample import OUT_OF_SAMPLE_FILE
from autotrader.training.reference import make_reference
from autotrader.training.validation import Validation

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Registration:
    """What became of a judged model.

    Attributes
    ----------
    registered : bool
        False: an integrity gate did not pass, and there is no version.
    version : int or None
    semver : str or None
    status : ModelStatus or None
    may_deploy : bool
        True only if the gates' decision is `promoted`.
    reason : str
    """

    registered: bool
    version: int | None
    semver: str | None
    status: ModelStatus | None
    may_deploy: bool
    reason: str


def register_model(
    *,
    prepared: PreparedData,
    evaluation: Evaluation,
    validation: Validation,
    strategy: StrategySettings,
    registry: ModelRegistry,
    tracker: ExperimentTracker,
    run_id: str,
    git_sha: str,
    actor: str,
    window_hours: float,
) -> Registration:
    """Register the model with its verdict, and end its tracking run.

    A sound model that an enforced performance gate rejected is registered as `rejected`, so that
    people can look at it. One that is not sound is not registered at all. Just before, the files
    are compared with their digests and with each other once more. With the model goes its
    reference, which live features and predictions will be compared with, and what its folds forecast
    out of sample, which its successor will be compared with.

    Parameters
    ----------
    prepared : PreparedData
    evaluation : Evaluation
    validation : Validation
    strategy : StrategySettings
        Its id names the registered model.
    registry : ModelRegistry
    tracker : ExperimentTracker
    run_id : str
    git_sha : str
        Of the code that trained the model; `unknown` outside a repository.
    actor : str
    window_hours : float
        Of the served features that drift will be looked for in.

    Raises
    ------
    Refused
        If a file changed after it was judged, or ONNX and native copy differ.
    Unreachable
        If registry or tracking server do not answer; registering again gives the same version.
    """
    if not validation.is_sound:
        reason = "not registered, an integrity gate did not pass: " + "; ".join(validation.reasons)
        log.warning("model not registered", reasons=list(validation.reasons))
        tracker.finish(run_id)
        return Registration(False, None, None, None, False, reason)
    evaluation.files.verify()
    again = compare_copies(evaluation.files, open_dataset(prepared).features[-1_000:])
    if not again.equal:
        raise Refused(f"expected equal copies of the model, were not: {again.reason}; train again")
    reason = f"{validation.decision.value}: " + ("; ".join(validation.reasons) or "all gates passed")
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / REFERENCE_FILE
        save_reference(make_reference(prepared, evaluation, window_hours=window_hours), reference)
        candidate = _candidate(
            prepared, evaluation, validation, strategy, run_id=run_id, git_sha=git_sha, reason=reason
        )
        attachments = {
            REFERENCE_FILE: reference,
            OUT_OF_SAMPLE_FILE: Path(evaluation.folder) / OUT_OF_SAMPLE_FILE,
        }
        version = registry.register(replace(candidate, attachments=attachments), actor=actor)
    tracker.finish(run_id)
    log.info("model registered", semver=version.semver, status=version.status.value)
    return Registration(
        registered=True,
        version=version.version,
        semver=version.semver,
        status=version.status,
        may_deploy=validation.decision is Decision.PROMOTED,
        reason=reason,
    )


def _candidate(
    prepared: PreparedData,
    evaluation: Evaluation,
    validation: Validation,
    strategy: StrategySettings,
    *,
    run_id: str,
    git_sha: str,
    reason: str,
) -> ModelCandidate:
    rejected = validation.decision is Decision.REJECTED
    return ModelCandidate(
        name=strategy.strategy_id,
        training_key=evaluation.key,
        onnx_path=Path(evaluation.files.onnx_path),
        native_path=Path(evaluation.files.native_path),
        feature_names=prepared.feature_names,
        run_id=run_id,
        status=ModelStatus.REJECTED if rejected else ModelStatus.CANDIDATE,
        reason=reason,
        tags={
            "git_sha": git_sha,
            "data_versions": json.dumps(dict(prepared.data_versions), sort_keys=True),
            "data_sha256": prepared.sha256,
            "data_start": prepared.first_ts.isoformat(),
            "data_end": prepared.as_of.isoformat(),
            "instruments": " ".join(rows.instrument for rows in prepared.instruments),
            "data_sources": ", ".join(prepared.sources),
            "feature_set": prepared.feature_set,
            "labels": prepared.labels,
            "training_run": run_id,
            "onnx_sha256": evaluation.files.onnx_sha256,
            "native_sha256": evaluation.files.native_sha256,
            "gate_report_sha256": validation.report_sha256,
            "decision": validation.decision.value,
            "environment": validation.environment.value,
        },
    )
