"""Stage 4: the model registry."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from autotrader.apps.api.checks import registry as health
from autotrader.config.settings import Settings
from autotrader.deployment.check_agreement import check_agreement
from autotrader.domain.errors import BadData, NotFound
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords, DeploymentTarget
from autotrader.ports.registry import Alias, ModelRegistry
from autotrader.readiness.findings import Finding, State, failed, of_component, ok, warning

ONNX_FILE = "model.onnx"
OF_TRAFFIC = ("traffic: ", "state: ")  # what stage 7 tells of


def look(
    *,
    settings: Settings,
    registry: ModelRegistry,
    records: DeploymentRecords,
    target: DeploymentTarget,
    clock: WallClock,
) -> Iterator[Finding]:
    """Whether MLflow answers, the champion's file is what was judged, and aliases agree."""
    answers = of_component("MLflow", lambda: health(settings), "make status; make restart SERVICE=mlflow")
    yield answers
    if answers.state is State.FAILED:
        return
    yield from _champion(registry, settings.strategy.strategy_id)
    agreed = check_agreement(
        settings=settings, records=records, registry=registry, target=target, clock=clock
    ).data
    assert isinstance(agreed, dict)  # noqa: S101 - what it returns
    yield _aliases(agreed["pending"], agreed["live"])


def _champion(registry: ModelRegistry, name: str) -> Iterator[Finding]:
    try:
        champion = registry.get(name, Alias.CHAMPION)
    except NotFound:
        todo = "run training_pipeline, then `autotrader deploy` what passes its gates"
        yield failed("champion", f"{name} has no champion, {len(registry.list(name))} versions", todo)
        return
    with tempfile.TemporaryDirectory(prefix="autotrader-") as folder:
        try:
            file = registry.fetch_artifact(champion, ONNX_FILE, Path(folder))
        except (BadData, NotFound) as error:
            back = f"`autotrader emergency-rollback --version {champion.semver} --reason REASON`"
            todo = f"do not deploy it; {back}, and find out who changed the file"
            yield failed("digest of the champion", str(error), todo)
        else:
            size = file.stat().st_size
            said = f"{champion.semver}: {size:,} bytes, SHA-256 {champion.onnx_sha256[:12]} as recorded"
            yield ok("digest of the champion", said)
    try:
        previous = registry.get(name, Alias.PREVIOUS)
    except NotFound:
        todo = "a second deployment makes one; until then a rollback leaves nothing live"
        yield warning("way back", "0 versions were live before", todo)
    else:
        yield ok("way back", f"{previous.semver} was live before")


def _aliases(pending: tuple[str, ...], live: str | None) -> Finding:
    shown = [what for what in pending if not what.startswith(OF_TRAFFIC)]
    if shown:
        todo = "python -m autotrader.deployment.check_agreement --converge"
        return failed("aliases", f"{len(shown)} differ from what is live: {'; '.join(shown)}", todo)
    return ok("aliases", f"agree with what is live ({live or 'nothing'})")
