"""The model registry: our database decides, MLflow shows.

A change is made in one transaction of our database (`ModelRecords`), then MLflow is brought to
agree, under a lock so that two processes never do so at once. Whatever interrupts this, the next
call finishes it. MLflow creates a version together with all of its tags in one transaction of its
own, and not before every artefact was read back with the right digest; so a version is there whole
or not at all, and one whose creation we did not live to note is found again by its training key.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import structlog
from sqlalchemy.engine import Engine

from autotrader import tracing
from autotrader.adapters.mlflow_model import ONNX_FILE, model_files
from autotrader.adapters.mlflow_projection import MlflowProjection
from autotrader.adapters.mlflow_rest import AlreadyExists, MlflowRest
from autotrader.db.locks import claim, exclusive
from autotrader.db.model_records import ModelRecords
from autotrader.db.model_rows import Record, unknown_version
from autotrader.domain.errors import BadData, ConfigurationError, NotFound, Unreachable
from autotrader.ports.clock import WallClock
from autotrader.ports.events import EventLog
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
    require_candidate_tags,
    require_reason,
)

MODEL_FOLDER = "model"
# Longer than any projection takes; a registration under way may take longer, then the change waits for it.
_CHANGE_PATIENCE_SECONDS = 15.0
# Readers that met a silent MLflow ask our database alone for so long: each try may take longer than all
# else that they do.
SILENCE_SECONDS = 30.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

log = structlog.get_logger(__name__)


class MlflowRegistry:
    """Implements `autotrader.ports.registry.ModelRegistry`.

    Parameters
    ----------
    uri : str
        `http://host:port` of the MLflow server.
    engine : Engine
        Our database.
    events : EventLog
    wall_clock : WallClock
    transport : httpx.BaseTransport or None
        How requests travel; None is the network.
    """

    def __init__(
        self,
        uri: str,
        engine: Engine,
        events: EventLog,
        wall_clock: WallClock,
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._mlflow = MlflowRest(uri, transport)
        self._engine = engine
        self._records = ModelRecords(engine)
        self._projection = MlflowProjection(self._mlflow, self._records, events, wall_clock)
        self._clock = wall_clock
        self._next_try: float | None = None

    def register(self, candidate: ModelCandidate, *, actor: str) -> ModelVersion:
        with tracing.span("registry register", model=candidate.name):
            return self._register(candidate, actor=actor)

    def _register(self, candidate: ModelCandidate, *, actor: str) -> ModelVersion:
        name = _require_name(candidate.name)
        reason = require_reason(candidate.reason)
        tags = dict(candidate.tags) | {"gates": gates_of(candidate.status)}
        require_candidate_tags(tags)
        files = model_files(candidate)
        digests = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        if tags.get("onnx_sha256", digests[ONNX_FILE]) != digests[ONNX_FILE]:
            raise BadData(
                f"expected the ONNX file that was judged ({tags['onnx_sha256']}), was {digests[ONNX_FILE]}"
            )
        try:
            with exclusive(self._engine, f"registry-{name}"):
                taken = self._projection.converge(name)
                record = self._of_training(name, candidate.training_key)
                if record is None:
                    intention = self._records.intend(
                        name=name,
                        training_key=candidate.training_key,
                        run_id=candidate.run_id,
                        status=candidate.status,
                        reason=reason,
                        tags=tags,
                        digests=digests,
                        taken=taken,
                        actor=actor,
                        at=self._clock.now(),
                    )
                    record = self._publish(intention, files)
        except Unreachable as error:
            raise Unreachable(f"nothing is half-registered, run it again to go on: {error}") from error
        self._projection.record_events(name)
        return record.version

    def get(self, name: str, version: str) -> ModelVersion:
        self._projection.record_events(_require_name(name))
        found = self._records.find(name, version)
        if found is None:
            with exclusive(self._engine, f"registry-{name}"):
                self._projection.converge(name)
            found = self._records.find(name, version)
        elif self._records.pending(name):
            self._try_to_converge(name)
        if found is None:
            known = [r.version.semver for r in self._records.registered(name)]
            raise NotFound(unknown_version(name, version, known))
        return found.version

    def list(self, name: str) -> Sequence[ModelVersion]:
        if not self._records.registered(_require_name(name)):
            with exclusive(self._engine, f"registry-{name}"):
                self._projection.converge(name)
        else:
            self._try_to_converge(name)
        versions = (record.version for record in self._records.registered(name))
        return sorted(versions, key=lambda v: v.version, reverse=True)

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
        with tracing.span("registry change", model=name):
            self._change(name, changes, reason=require_reason(reason), actor=actor)

    def _change(
        self, name: str, changes: Sequence[StatusChange | AliasChange], *, reason: str, actor: str
    ) -> None:
        for change in changes:
            # Only what our database does not know needs MLflow before it can be decided.
            if change.version is not None and self._records.find(name, change.version) is None:
                self.get(name, change.version)
        self._records.decide(name, changes, reason=reason, actor=actor, at=self._clock.now())
        self._projection.record_events(name)
        try:
            with exclusive(self._engine, f"registry-{name}", wait_seconds=_CHANGE_PATIENCE_SECONDS):
                self._projection.converge(name)
        except Unreachable as error:
            pending = "; ".join(map(str, self._records.pending(name))) or "nothing"
            raise Unreachable(
                f"decided, and still to be shown by MLflow: {pending}. The next command on the registry "
                f"shows it, there is no need to repeat this one ({error})"
            ) from error

    def fetch_artifact(self, version: ModelVersion, file_name: str, folder: Path) -> Path:
        record = self._records.find(version.name, version.semver)
        if record is None or file_name not in record.digests:
            files = ", ".join(record.digests) if record else "no files"
            raise NotFound(f"expected an artefact of {version.semver} ({files}), was {file_name!r}")
        expected = record.digests[file_name]
        target = folder / file_name
        if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == expected:
            return target
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".fetch-") as partial:
            arrived = Path(partial) / file_name
            found = self._mlflow.download(f"{record.source}/{file_name}", arrived)
            if found != expected:
                raise BadData(
                    f"expected {file_name} of {version.semver} with SHA-256 {expected}, was {found}: do not "
                    "use it, and find out who changed it"
                )
            arrived.replace(target)
        return target

    def _publish(self, intention: Record, files: Mapping[str, bytes]) -> Record:
        name, run_id = intention.version.name, intention.version.run_id
        root = self._mlflow.get("runs/get", run_id=run_id)["run"]["info"]["artifact_uri"]
        source = f"{root}/{MODEL_FOLDER}"
        with TemporaryDirectory() as folder:
            for file, content in files.items():
                self._mlflow.upload(f"{source}/{file}", content)
                stored = self._mlflow.download(f"{source}/{file}", Path(folder) / "read-back")
                if stored != intention.digests[file]:
                    raise BadData(
                        f"expected MLflow to keep {file} with SHA-256 {intention.digests[file]}, was {stored}"
                    )
        with contextlib.suppress(AlreadyExists):
            self._mlflow.post("registered-models/create", name=name)
        created = self._mlflow.post(
            "model-versions/create",
            name=name,
            source=source,
            run_id=run_id,
            tags=[{"key": k, "value": v} for k, v in intention.version.tags.items()],
        )["model_version"]
        number = int(created["version"])
        self._records.finish(intention, number=number, source=source, at=self._clock.now())
        record = self._of_training(name, intention.training_key)
        assert record is not None  # noqa: S101 - finished one line above, under the lock
        return record

    def _of_training(self, name: str, training_key: str) -> Record | None:
        return next((r for r in self._records.registered(name) if r.training_key == training_key), None)

    def _try_to_converge(self, name: str) -> None:
        """For readers: the database answers them, whether MLflow does or not."""
        if self._next_try is not None and self._clock.monotonic() < self._next_try:
            return
        try:
            with claim(self._engine, f"registry-{name}") as is_ours:
                if is_ours:  # whoever has the lock converges
                    self._projection.converge(name)
        except Unreachable as error:
            self._next_try = self._clock.monotonic() + SILENCE_SECONDS
            pending = [str(change) for change in self._records.pending(name)]
            log.warning("registry_not_shown_by_mlflow", name=name, pending=pending, error=str(error))


def _require_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"expected a model name of letters, digits, _, . and -, was {name!r}")
    return name
