"""What a model says of the newest real rows, and whether that makes sense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog

from autotrader.config.settings import Settings
from autotrader.deployment.checks.golden import (
    Golden,
    Samples,
    make_golden,
    newest_samples,
    read_golden,
    write_golden,
)
from autotrader.deployment.checks.registered import check_signature
from autotrader.domain.errors import BadData
from autotrader.domain.thresholds import DEPLOYMENT_CHECKS
from autotrader.domain.verdicts import Finding, Severity
from autotrader.features.store.store import FeatureStore
from autotrader.ports.registry import ModelVersion
from autotrader.registry.onnx_model import OnnxModel

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """A model that was asked about the newest rows of the feature store.

    Attributes
    ----------
    findings : tuple of Finding
        Those of inputs, rows and predictions; none after one that made the next impossible.
    samples : Samples or None
        None where the model's inputs are none of this feature set.
    golden : Golden or None
        None where there are no rows, or no sane predictions of them.
    """

    findings: tuple[Finding, ...]
    samples: Samples | None = None
    golden: Golden | None = None

    def require_golden(self) -> Golden:
        """Raise BadData, with what is wrong, where there are none."""
        if self.golden is None:
            wrong = (f.reason for f in self.findings if f.severity is Severity.CRITICAL)
            raise BadData(f"expected golden predictions, could make none: {'; '.join(wrong)}")
        return self.golden


def ask_newest(version: ModelVersion, model: OnnxModel, store: FeatureStore, settings: Settings) -> Asked:
    """Ask the version's model, in process, about the newest complete rows of each instrument.

    Parameters
    ----------
    model : OnnxModel
        The registered bytes.
    """
    instruments = settings.instruments()
    signature = check_signature(version, model, store.feature_set, instruments)
    if signature.severity is Severity.CRITICAL:
        return Asked((signature,))
    samples = newest_samples(
        store,
        instruments,
        model.feature_names,
        interval=settings.strategy.interval,
        count=DEPLOYMENT_CHECKS.golden_rows,
    )
    rows = _check_samples(samples, list(map(str, instruments)))
    if len(samples) == 0:
        return Asked((signature, rows), samples)
    sane = _check_predictions(model.probabilities(samples.features))
    golden = make_golden(version, model, samples) if sane.severity is Severity.HEALTHY else None
    return Asked((signature, rows, sane), samples, golden)


def golden_of(
    folder: Path, version: ModelVersion, path: Path, store: FeatureStore, settings: Settings
) -> Golden:
    """The golden predictions in this folder; where there are none to read, they are made and put there.

    A version that is returned to was checked long ago, and maybe in another home: one that was lost, or
    that a failover left behind.

    Parameters
    ----------
    path : Path
        The registered bytes.

    Raises
    ------
    BadData
        If there are none, and none can be made.
    """
    try:
        return read_golden(folder)
    except BadData as error:
        lacking = error
    try:
        golden = ask_newest(version, OnnxModel(path), store, settings).require_golden()
    except BadData as error:
        raise BadData(f"{lacking}; {error}") from None
    write_golden(folder, golden)
    log.info("golden predictions made anew", version=version.semver, reason=str(lacking))
    return golden


def _check_samples(samples: Samples, instruments: Sequence[str]) -> Finding:
    """Every instrument has complete rows of the model's features."""
    lacking = [i for i in instruments if i not in samples.instruments]
    evidence = {"rows": len(samples), "instruments": len(set(samples.instruments))}
    if lacking:
        reason = f"no complete row of the model's features of {', '.join(lacking)}: run data_pipeline"
        return Finding("feature_rows", Severity.CRITICAL, reason, evidence)
    reason = f"{len(samples)} newest rows of {len(instruments)} instruments are complete"
    return Finding("feature_rows", Severity.HEALTHY, reason, evidence)


def _check_predictions(probabilities: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Finding:
    """Of real rows the model makes three probabilities that sum to 1."""
    evidence = {"rows": len(probabilities), "shape": list(probabilities.shape)}
    bound = DEPLOYMENT_CHECKS.row_sum_difference
    if probabilities.ndim != 2 or probabilities.shape[1] != 3:
        reason = f"expected three probabilities a row, was an output of shape {probabilities.shape}"
        return Finding("predictions", Severity.CRITICAL, reason, evidence)
    inside = (probabilities >= 0) & (probabilities <= 1)
    good = inside.all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) <= bound)
    if not good.all():
        reason = f"{int((~good).sum())} of {len(good)} real rows give no probabilities that sum to 1"
        return Finding("predictions", Severity.CRITICAL, reason, evidence)
    reason = f"{len(good)} real rows give probabilities that sum to 1"
    return Finding("predictions", Severity.HEALTHY, reason, evidence)
