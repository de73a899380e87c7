"""The platform over a week: model, drift, rollouts, pipelines, service levels, alerts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autotrader.alerts.weekly import (
    AlertLine,
    DriftWeek,
    LevelLine,
    ModelLine,
    MovedFeature,
    PipelineLine,
    RolloutLine,
    Window,
)
from autotrader.data.lake import Lake
from autotrader.domain.errors import BadData
from autotrader.domain.service_levels import LEVELS
from autotrader.domain.thresholds import WEEKLY_REPORT
from autotrader.domain.verdicts import Severity
from autotrader.execution.forecasts import measure_forecasts
from autotrader.monitoring.checks import DRIFT
from autotrader.monitoring.ledger import LabelLedger
from autotrader.monitoring.page import VERDICT
from autotrader.monitoring.verdict import Health
from autotrader.ports.alerts import Alert, Alerts, AlertState
from autotrader.ports.deployment import DeploymentRecords
from autotrader.ports.events import EventLog, EventType
from autotrader.ports.pipeline_runs import EndedRun
from autotrader.ports.service_levels import ServiceLevelReadings

_LIVE = (AlertState.OPEN, AlertState.ACKNOWLEDGED, AlertState.SUPPRESSED)
_PAGE = 500
_MOST_ROLLOUTS = 1_000  # that the records are asked for; a week has a few


def models_of(lake: Lake, window: Window) -> Iterator[ModelLine]:
    """Versions that predicted bars of the window, as far as their labels matured; newest version last."""
    rows = LabelLedger(lake).matured(window.start, window.end)
    for part in rows.partition_by("version", "rule", maintain_order=True):
        probabilities = part.select("p_down", "p_flat", "p_up").to_numpy()
        found = measure_forecasts(probabilities, part["label"].to_numpy().astype(np.int64))
        yield ModelLine(
            version=part["version"][0],
            rule=part["rule"][0],
            rows=found.rows,
            replayed=int(part["replayed"].sum()),
            accuracy=found.accuracy,
            mean_confidence=found.mean_confidence,
            calibration_error=found.calibration_error,
        )


def drift_of(reports: Path, window: Window) -> DriftWeek:
    """Health checks that were made in the window, by the wall clock.

    Raises
    ------
    BadData
        If a verdict is damaged.
    """
    made = [
        file
        for file in reports.glob(f"*/{VERDICT}")
        if window.start.timestamp() <= file.stat().st_mtime < window.end.timestamp()
    ]
    verdicts = [_read(file) for file in made]
    health = [Health(verdict["health"]) for verdict in verdicts]
    moved: dict[str, list[dict[str, Any]]] = {}
    for verdict in verdicts:
        for feature in verdict["checks"][DRIFT]["figures"].get("features", ()):
            if feature["severity"] != Severity.HEALTHY:
                moved.setdefault(str(feature["name"]), []).append(feature)
    lines = [
        MovedFeature(
            name=name,
            warnings=sum(f["severity"] == Severity.WARNING for f in found),
            criticals=sum(f["severity"] == Severity.CRITICAL for f in found),
            psi=max((float(f["psi"]) for f in found if f["psi"] is not None), default=None),
        )
        for name, found in moved.items()
    ]
    lines.sort(key=lambda line: (line.criticals, line.warnings, line.psi or 0.0), reverse=True)
    return DriftWeek(
        checks=len(verdicts),
        critical=health.count(Health.CRITICAL),
        warning=health.count(Health.WARNING),
        undecided=health.count(Health.UNDECIDED),
        moved=tuple(lines[: WEEKLY_REPORT.features]),
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        verdict: dict[str, Any] = json.loads(file.read_bytes())
        verdict["checks"][DRIFT]["figures"].get("features")
        Health(verdict["health"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadData(f"expected a verdict in {file}, was {type(error).__name__}: {error}") from error
    return verdict


def rollouts_of(records: DeploymentRecords, window: Window) -> Iterator[RolloutLine]:
    """Rollouts that began in the window, newest first."""
    for rollout in records.recent(_MOST_ROLLOUTS):
        if window.start <= rollout.created_at < window.end:
            yield RolloutLine(
                version=rollout.version,
                previous=rollout.previous_version,
                state=rollout.state.value,
                stage=rollout.stage.value,
                is_faulty=rollout.is_faulty,
                began=rollout.created_at,
                ended=rollout.ended_at,
                by=rollout.requested_by,
                reason=rollout.reason,
            )


def pipelines_of(runs: Sequence[EndedRun]) -> Iterator[PipelineLine]:
    """By DAG, in order of name."""
    for dag_id in sorted({run.dag_id for run in runs}):
        of_it = [run for run in runs if run.dag_id == dag_id]
        failed = [run.ended_at for run in of_it if not run.succeeded]
        yield PipelineLine(dag_id, len(of_it) - len(failed), len(failed), max(failed, default=None))


def levels_of(readings: ServiceLevelReadings, window: Window) -> Iterator[LevelLine]:
    """Each service level, and what is left of its budget.

    Raises
    ------
    Unreachable, Rejected
        If what measures does not answer.
    """
    for level in LEVELS:
        ratio = readings.error_ratio(level, window.end)
        left = None if ratio is None else 1 - ratio / (1 - level.objective)
        yield LevelLine(level.name, level.meaning, level.objective, ratio, left)


def alerts_of(alerts: Alerts) -> Iterator[AlertLine]:
    """Those that are not resolved, the worst first."""
    found: list[Alert] = []
    # All of them: in a flood the worst may be the oldest.
    while page := alerts.list(states=_LIVE, limit=_PAGE, offset=len(found)):
        found += page
    found.sort(key=lambda alert: (-alert.severity.rank, alert.first_at))
    for alert in found[: WEEKLY_REPORT.alerts]:
        yield AlertLine(
            alert.id, alert.name, alert.severity.value, alert.state.value, alert.message, alert.first_at
        )


def raised_in(events: EventLog, window: Window) -> dict[str, int]:
    """Alert events by severity."""
    counts = events.counts(window.start, window.end)
    return {severity: number for (kind, severity), number in counts.items() if kind is EventType.ALERT}
