"""What the steps of `training_pipeline` hand to one another: small, plain, JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotrader.config.settings import TrainingSettings
from autotrader.training.gates import Decision


@dataclass(frozen=True, slots=True)
class Run:
    """What all steps of a run share.

    Attributes
    ----------
    prepared : str
        URI of the training set.
    tracking_run : str
        Id of the run in MLflow that everything is logged to.
    training : TrainingSettings
        The settings, with what the run's conf overrides.
    promote : bool
        Whether a model that passed may go on to deployment.
    """

    prepared: str
    tracking_run: str
    training: TrainingSettings
    promote: bool


@dataclass(frozen=True, slots=True)
class FamilyWork:
    """What one mapped task searches."""

    family: str
    run: Run


@dataclass(frozen=True, slots=True)
class Searched:
    """Where a family's search lies."""

    family: str
    run: Run
    search: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Where the judged model lies."""

    run: Run
    searches: tuple[str, ...]
    evaluation: str


@dataclass(frozen=True, slots=True)
class ModelsTried:
    """A line of the summary: one family."""

    family: str
    trials: int
    best_skill: float | None
    chosen: bool


@dataclass(frozen=True, slots=True)
class Validated:
    """What the gates said, in full: people read it in the UI."""

    run: Run
    searches: tuple[str, ...]
    evaluation: str
    validation: str
    decision: Decision
    reasons: tuple[str, ...]
    window: str
    gates: tuple[Mapping[str, Any], ...]
    models_tried: tuple[ModelsTried, ...]
    report_url: str


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of the model.

    Attributes
    ----------
    version, semver
        None if an integrity gate forbade registration.
    promoted : bool
        Whether it may go on to deployment.
    reason : str
        Why, or why not.
    """

    version: int | None
    semver: str | None
    promoted: bool
    decision: Decision
    reason: str
