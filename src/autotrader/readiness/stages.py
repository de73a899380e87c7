"""The ten stages, and how one is looked at: with patience that ends, and never taken for well."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import structlog

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.domain.errors import AutotraderError
from autotrader.domain.thresholds import READINESS
from autotrader.log import mask_text
from autotrader.readiness import (
    alerting,
    backups,
    capacity,
    configuration,
    database,
    deployment,
    lake,
    pipelines,
    registry,
    venues,
)
from autotrader.readiness.findings import Finding, State, failed, worst

log = structlog.get_logger(__name__)


Look = Callable[..., Iterator[Finding]]


class StageName(StrEnum):
    """In the order in which they are looked at."""

    CONFIGURATION = "configuration"
    DATABASE = "database"
    VENUES = "venues"
    REGISTRY = "registry"
    LAKE = "lake"
    AIRFLOW = "airflow"
    DEPLOYMENT = "deployment"
    MONITORING = "monitoring"
    BACKUPS = "backups"
    CAPACITY = "capacity"


@dataclass(frozen=True, slots=True)
class Stage:
    """One of the ten.

    Attributes
    ----------
    look : Callable or None
        A verb: its ports are injected; it yields findings.
    look_inside : Callable or None
        Likewise; one of its ports would create or migrate our database, which is asked first whether it
        is current.
    todo : str
        What helps where it cannot even be looked at.
    """

    name: StageName
    title: str
    todo: str
    look: Look | None = None
    look_inside: Look | None = None


STAGES = (
    Stage(
        StageName.CONFIGURATION,
        "configuration and secrets",
        "docs/user-manual.md names the settings",
        look=configuration.look,
    ),
    Stage(StageName.DATABASE, "database", "python -m autotrader.db.check_connections", look=database.look),
    Stage(StageName.VENUES, "broker and venue access", "autotrader verify-credentials", look=venues.look),
    Stage(StageName.REGISTRY, "registry", "make restart SERVICE=mlflow", look_inside=registry.look),
    Stage(StageName.LAKE, "lake and archive", "autotrader validate", look_inside=lake.look),
    Stage(StageName.AIRFLOW, "Airflow", "make status; make restart", look=pipelines.look),
    Stage(
        StageName.DEPLOYMENT,
        "deployment state",
        "python -m autotrader.deployment.get_status",
        look_inside=deployment.look,
    ),
    Stage(
        StageName.MONITORING,
        "monitoring and alert routes",
        "make monitoring-setup; make monitoring-native",
        look=alerting.look,
        look_inside=alerting.look_at_alerts,
    ),
    Stage(StageName.BACKUPS, "backups", "autotrader backups list", look=backups.look),
    Stage(StageName.CAPACITY, "capacity", "df -h; free -h", look=capacity.look),
)


@dataclass(frozen=True, slots=True)
class StageReport:
    """What a stage came to: as bad as its worst finding."""

    name: StageName
    title: str
    state: State
    seconds: float
    findings: tuple[Finding, ...]

    @property
    def reason(self) -> str:
        """Of the worst finding."""
        return next((f"{f.subject}: {f.reason}" for f in self.findings if f.state is self.state), "nothing")

    @property
    def todo(self) -> str:
        return next((f.todo for f in self.findings if f.state is self.state), "")


def run(
    stage: Stage, settings: Settings, *, patience_seconds: float = READINESS.stage_seconds
) -> StageReport:
    """Look at one stage; what hangs is failed, and what was found before it counts."""
    begun = time.monotonic()
    found: list[Finding] = []
    # A daemon: what hangs must not keep the command from ending.
    thread = threading.Thread(
        target=_look, args=(stage, settings, found), name=f"stage-{stage.name}", daemon=True
    )
    thread.start()
    thread.join(patience_seconds)
    findings = list(found)
    if thread.is_alive():
        reason = f"gave no answer within {patience_seconds:g} s"
        findings.append(failed(stage.title, reason, stage.todo))
    return StageReport(
        stage.name, stage.title, worst(findings), round(time.monotonic() - begun, 2), tuple(findings)
    )


def _look(stage: Stage, settings: Settings, found: list[Finding]) -> None:
    try:
        if stage.look is not None:
            _gather(stage.look, found)
        if stage.look_inside is not None:
            trouble = database.trouble(settings)
            if trouble:
                found.append(_shown(trouble))
            else:
                _gather(stage.look_inside, found)
    except AutotraderError as error:
        found.append(_shown(failed(stage.title, str(error), stage.todo)))
    except Exception as error:
        log.error("a stage could not be looked at", stage=stage.name, exc_info=error)
        found.append(failed(stage.title, f"the check itself failed: {type(error).__name__}", stage.todo))


def _gather(look: Look, found: list[Finding]) -> None:
    with command.bound(look, {}) as bound:
        for finding in cast("Iterator[Finding]", bound()):
            found.append(_shown(finding))  # noqa: PERF401 - what was found before it hung counts


def _shown(finding: Finding) -> Finding:
    """On one line, without what libraries put into their messages."""
    reason = mask_text(" ".join(finding.reason.split()))
    return Finding(finding.subject, finding.state, reason, finding.todo)
