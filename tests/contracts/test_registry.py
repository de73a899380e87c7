"""What every model registry does."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from autotrader.adapters import mlflow_rest
from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.mlflow_registry import MlflowRegistry
from autotrader.adapters.mlflow_rest import MlflowRest
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.errors import BadData, ConfigurationError, NotFound, Refused
from autotrader.ports.events import EventLog, EventType
from autotrader.ports.registry import (
    Alias,
    AliasChange,
    ModelCandidate,
    ModelRegistry,
    ModelStatus,
    ModelVersion,
    StatusChange,
)
from tests.fakes.mlflow_server import StandInMlflow, serve
from tests.fakes.registry import InMemoryRegistry
from tests.models import candidate
from tests.services import fresh_database, mlflow_server


@dataclass
class Subject:
    """A registry, and what a test needs around it."""

    registry: ModelRegistry
    events: EventLog
    new_run: Callable[[], str]
    spoil: Callable[[ModelVersion, str], None]
    folder: Path
    name: str

    def candidate(self, key: str, status: ModelStatus = ModelStatus.CANDIDATE) -> ModelCandidate:
        return candidate(self.folder, key, self.new_run(), name=self.name, status=status)

    def register(self, key: str, status: ModelStatus = ModelStatus.CANDIDATE) -> ModelVersion:
        return self.registry.register(self.candidate(key, status), actor="training")

    def get(self, version: str) -> ModelVersion:
        return self.registry.get(self.name, version)

    def set_alias(self, alias: Alias, version: str | None) -> None:
        self.registry.set_alias(self.name, alias, version, reason="rollout", actor="controller")

    def set_status(self, version: str, status: ModelStatus, reason: str = "rollout") -> ModelVersion:
        return self.registry.set_status(self.name, version, status, reason=reason, actor="controller")

    def changes(self) -> list[tuple[object, object, object]]:
        """Kind, old and new value of each recorded change, oldest first."""
        events = reversed(self.events.recent(type=EventType.REGISTRY))
        return [(e.data["kind"], e.data["old"], e.data["new"]) for e in events]


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.integration),
        pytest.param("mlflow", marks=pytest.mark.integration),
    ]
)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    match request.param:
        case "memory":
            yield _in_memory(tmp_path)
        case "mlflow":
            yield _in_mlflow(request.getfixturevalue("real_mlflow"), "sqlite", tmp_path)
        case database:
            with serve(StandInMlflow()) as uri:
                yield _in_mlflow(uri, database, tmp_path)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real server may take long over its first answers where others keep the machine busy."""
    monkeypatch.setattr(mlflow_rest, "ANSWER_TIMEOUT_SECONDS", 60.0)


@pytest.fixture(scope="session")
def real_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as uri:
        yield uri


def _in_memory(folder: Path) -> Subject:
    registry = InMemoryRegistry()
    runs = (f"run{number}" for number in range(1000))

    def spoil(version: ModelVersion, file: str) -> None:
        registry.artifacts[version.name, version.semver, file] += b"!"

    return Subject(registry, registry.events, lambda: next(runs), spoil, folder, "strategy")


def _in_mlflow(uri: str, database: str, folder: Path) -> Subject:
    rest = MlflowRest(uri)
    engine = open_database(fresh_database(database, folder))
    events = SqlEventLog(engine)
    registry = MlflowRegistry(uri, engine, events, SystemWallClock())

    def new_run() -> str:
        run = rest.post("runs/create", experiment_id="0", run_name="training", start_time=0)["run"]
        return str(run["info"]["run_id"])

    def spoil(version: ModelVersion, file: str) -> None:
        root = rest.get("runs/get", run_id=version.run_id)["run"]["info"]["artifact_uri"]
        rest.upload(f"{root}/model/{file}", b"spoilt")

    return Subject(registry, events, new_run, spoil, folder, f"strategy-{uuid.uuid4().hex}")


def test_a_registered_version_says_what_it_is_and_was_made_of(subject: Subject) -> None:
    given = subject.candidate("a")
    made = subject.registry.register(given, actor="training")
    digest = hashlib.sha256(given.onnx_path.read_bytes()).hexdigest()
    assert isinstance(subject.registry, ModelRegistry)
    assert (made.name, made.version, made.semver) == (subject.name, 1, "v1.0.0")
    assert (made.status, made.reason) == (ModelStatus.CANDIDATE, given.reason)
    assert (made.aliases, made.onnx_sha256, made.run_id) == ((), digest, given.run_id)
    expected = {
        **given.tags,
        "semver": "v1.0.0",
        "status": "candidate",
        "reason": given.reason,
        "onnx_sha256": digest,
        "training_run": given.run_id,
        "training_key": "a",
        "gates": "passed",
    }
    assert expected.items() <= made.tags.items()
    assert subject.get("v1.0.0") == subject.get("1") == made


def test_each_new_model_takes_the_next_minor_version(subject: Subject) -> None:
    assert [subject.register(key).semver for key in "abc"] == ["v1.0.0", "v1.1.0", "v1.2.0"]
    assert [v.semver for v in subject.registry.list(subject.name)] == ["v1.2.0", "v1.1.0", "v1.0.0"]
    assert [v.version for v in subject.registry.list(subject.name)] == [3, 2, 1]


def test_the_same_training_registered_twice_is_one_version(subject: Subject) -> None:
    given = subject.candidate("a")
    first = subject.registry.register(given, actor="training")
    again = subject.registry.register(replace(given, reason="another run"), actor="training")
    assert again == first
    assert list(subject.registry.list(subject.name)) == [first]
    assert subject.changes() == [("registered", None, "candidate")]


def test_a_rejected_model_is_registered_and_says_so(subject: Subject) -> None:
    made = subject.register("a", ModelStatus.REJECTED)
    assert made.status is ModelStatus.REJECTED
    assert made.tags["gates"] == "failed"


@pytest.mark.parametrize("status", [ModelStatus.PRODUCTION, ModelStatus.CANARY, ModelStatus.FAILED])
def test_a_new_model_is_candidate_or_rejected_and_nothing_else(subject: Subject, status: ModelStatus) -> None:
    with pytest.raises(Refused, match="candidate or rejected"):
        subject.register("a", status)


def test_a_candidate_without_the_tags_of_training_is_refused(subject: Subject) -> None:
    given = subject.candidate("a")
    with pytest.raises(BadData, match="data_versions"):
        subject.registry.register(replace(given, tags={"git_sha": "1", "feature_set": "x"}), actor="t")
    assert subject.registry.list(subject.name) == []


def test_a_file_that_is_not_the_one_that_was_judged_is_refused(subject: Subject) -> None:
    given = subject.candidate("a")
    swapped = replace(given, tags={**given.tags, "onnx_sha256": "0" * 64})
    with pytest.raises(BadData, match="judged"):
        subject.registry.register(swapped, actor="training")
    assert subject.registry.list(subject.name) == []


def test_two_models_of_one_run_are_refused_since_they_would_share_files(subject: Subject) -> None:
    first = subject.candidate("a")
    subject.registry.register(first, actor="training")
    with pytest.raises(Refused, match=first.run_id):
        subject.registry.register(replace(subject.candidate("b"), run_id=first.run_id), actor="training")


def test_an_unknown_version_is_not_found(subject: Subject) -> None:
    subject.register("a")
    for unknown in ("v9.9.9", "17", "champion", "latest", "v1", "'; drop table"):
        with pytest.raises(NotFound, match="expected a version"):
            subject.get(unknown)


def test_artefacts_come_back_as_they_were_registered(subject: Subject, tmp_path: Path) -> None:
    given = subject.candidate("a")
    made = subject.registry.register(given, actor="training")
    target = tmp_path / "serving"
    onnx = subject.registry.fetch_artifact(made, "model.onnx", target)
    native = subject.registry.fetch_artifact(made, "model.txt", target)
    assert onnx.read_bytes() == given.onnx_path.read_bytes()
    assert native.read_bytes() == given.native_path.read_bytes()
    assert {p.name for p in target.iterdir()} == {"model.onnx", "model.txt"}


def test_an_artefact_that_was_changed_is_not_handed_out(subject: Subject, tmp_path: Path) -> None:
    made = subject.register("a")
    subject.spoil(made, "model.onnx")
    with pytest.raises(BadData, match="SHA-256"):
        subject.registry.fetch_artifact(made, "model.onnx", tmp_path / "serving")
    folder = tmp_path / "serving"
    assert not folder.exists() or list(folder.iterdir()) == []


def test_attachments_are_kept_with_the_model_under_their_digests(subject: Subject, tmp_path: Path) -> None:
    reference = tmp_path / "made" / "anywhere.bin"
    reference.parent.mkdir()
    reference.write_bytes(b"PK reference")
    given = replace(subject.candidate("first"), attachments={"reference.npz": reference})
    made = subject.registry.register(given, actor="training")
    fetched = subject.registry.fetch_artifact(made, "reference.npz", tmp_path / "monitoring")
    assert fetched.read_bytes() == b"PK reference"
    subject.spoil(made, "reference.npz")
    with pytest.raises(BadData, match=r"reference\.npz"):
        subject.registry.fetch_artifact(made, "reference.npz", tmp_path / "again")


def test_an_artefact_that_is_none_is_not_found(subject: Subject, tmp_path: Path) -> None:
    made = subject.register("a")
    for unknown in ("model.pkl", "../../etc/passwd"):
        with pytest.raises(NotFound):
            subject.registry.fetch_artifact(made, unknown, tmp_path)


def test_a_change_of_status_is_one_event_however_often_it_is_made(subject: Subject) -> None:
    subject.register("a")
    for _ in range(2):
        changed = subject.set_status("v1.0.0", ModelStatus.STAGING, "checks passed")
    assert (changed.status, changed.reason) == (ModelStatus.STAGING, "checks passed")
    assert changed.tags["status"] == "staging"
    assert subject.changes() == [("registered", None, "candidate"), ("status", "candidate", "staging")]
    newest = subject.events.recent()[0]
    assert (newest.actor, newest.data["reason"]) == ("controller", "checks passed")
    assert "v1.0.0" in newest.message
    assert "checks passed" in newest.message


def test_an_alias_moves_and_goes_with_an_event_each(subject: Subject) -> None:
    subject.register("a")
    subject.register("b")
    subject.set_alias(Alias.CHAMPION, "v1.0.0")
    subject.set_alias(Alias.CHAMPION, "v1.1.0")
    subject.set_alias(Alias.CHAMPION, "v1.1.0")
    assert subject.get("champion").semver == "v1.1.0"
    assert subject.get("v1.1.0").aliases == (Alias.CHAMPION,)
    assert subject.get("v1.0.0").aliases == ()
    subject.set_alias(Alias.CHAMPION, None)
    subject.set_alias(Alias.CHAMPION, None)
    with pytest.raises(NotFound):
        subject.get("champion")
    assert subject.changes()[2:] == [
        ("champion", None, "v1.0.0"),
        ("champion", "v1.0.0", "v1.1.0"),
        ("champion", "v1.1.0", None),
    ]


def test_a_version_may_hold_several_aliases(subject: Subject) -> None:
    subject.register("a")
    subject.set_alias(Alias.PREVIOUS, "v1.0.0")
    subject.set_alias(Alias.CHAMPION, "v1.0.0")
    assert subject.get("v1.0.0").aliases == (Alias.CHAMPION, Alias.PREVIOUS)


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_a_change_without_a_reason_is_refused(subject: Subject, reason: str) -> None:
    subject.register("a")
    with pytest.raises(ConfigurationError, match="reason"):
        subject.set_status("v1.0.0", ModelStatus.FAILED, reason)
    assert subject.get("v1.0.0").status is ModelStatus.CANDIDATE


def test_a_change_of_an_unknown_version_is_not_found(subject: Subject) -> None:
    with pytest.raises(NotFound):
        subject.set_status("v1.0.0", ModelStatus.FAILED)
    with pytest.raises(NotFound):
        subject.set_alias(Alias.CHAMPION, "v1.0.0")


@pytest.mark.parametrize(
    "status", [ModelStatus.STAGING, ModelStatus.CANARY, ModelStatus.PRODUCTION, ModelStatus.CANDIDATE]
)
def test_no_detour_makes_a_model_live_that_failed_its_gates(subject: Subject, status: ModelStatus) -> None:
    subject.register("a", ModelStatus.REJECTED)
    for detour in (ModelStatus.ARCHIVED, ModelStatus.FAILED):
        subject.set_status("v1.0.0", detour)
        with pytest.raises(Refused, match="never passed its gates"):
            subject.set_status("v1.0.0", status)
    for alias in (Alias.CHAMPION, Alias.CHALLENGER):
        with pytest.raises(Refused):
            subject.set_alias(alias, "v1.0.0")
    assert subject.get("v1.0.0").status is ModelStatus.FAILED


def test_a_failed_model_goes_live_only_by_way_of_candidate(subject: Subject) -> None:
    subject.register("a")
    subject.set_status("v1.0.0", ModelStatus.FAILED, "lost money")
    with pytest.raises(Refused, match="lost money"):
        subject.set_status("v1.0.0", ModelStatus.PRODUCTION)
    with pytest.raises(Refused, match="lost money"):
        subject.set_alias(Alias.CHAMPION, "v1.0.0")
    subject.set_status("v1.0.0", ModelStatus.CANDIDATE, "the feed was at fault")
    assert subject.set_status("v1.0.0", ModelStatus.STAGING).status is ModelStatus.STAGING


def test_several_changes_are_made_together(subject: Subject) -> None:
    subject.register("a")
    subject.register("b")
    changes = [
        AliasChange(Alias.CHAMPION, "v1.1.0"),
        AliasChange(Alias.PREVIOUS, "v1.0.0"),
        StatusChange("v1.1.0", ModelStatus.PRODUCTION),
    ]
    subject.registry.change(subject.name, changes, reason="promoted", actor="controller")
    assert subject.get("champion").status is ModelStatus.PRODUCTION
    assert subject.get("previous").semver == "v1.0.0"
    assert len(subject.changes()) == 5


def test_of_several_changes_none_is_made_where_one_is_refused(subject: Subject) -> None:
    subject.register("a")
    subject.register("b", ModelStatus.REJECTED)
    before = (subject.registry.list(subject.name), subject.changes())
    changes = [
        StatusChange("v1.0.0", ModelStatus.ARCHIVED),
        AliasChange(Alias.PREVIOUS, "v1.0.0"),
        AliasChange(Alias.CHAMPION, "v1.1.0"),
    ]
    with pytest.raises(Refused):
        subject.registry.change(subject.name, changes, reason="mistake", actor="controller")
    assert (subject.registry.list(subject.name), subject.changes()) == before


def test_a_version_of_another_status_than_expected_is_left_alone(subject: Subject) -> None:
    subject.register("a")
    late = StatusChange("v1.0.0", ModelStatus.CANDIDATE, expected=ModelStatus.FAILED)
    subject.set_status("v1.0.0", ModelStatus.STAGING, "rollout")
    with pytest.raises(Refused, match=r"expected v1\.0\.0 to be failed, was staging \(rollout\)"):
        subject.registry.change(subject.name, [late], reason="late", actor="ops")
    assert subject.get("v1.0.0").status is ModelStatus.STAGING
    subject.set_status("v1.0.0", ModelStatus.FAILED)
    subject.registry.change(subject.name, [late], reason="the feed was at fault", actor="ops")
    assert subject.get("v1.0.0").status is ModelStatus.CANDIDATE


def test_an_alias_that_points_elsewhere_than_expected_is_left_alone(subject: Subject) -> None:
    for key in "abc":
        subject.register(key)
    subject.set_alias(Alias.CHAMPION, "v1.0.0")
    stale = AliasChange(Alias.CHAMPION, "v1.2.0", expected="v1.1.0")
    with pytest.raises(Refused, match=r"expected champion to be v1\.1\.0, was v1\.0\.0"):
        subject.registry.change(subject.name, [stale], reason="late", actor="controller")
    right = AliasChange(Alias.CHAMPION, "v1.2.0", expected="v1.0.0")
    for _ in range(2):  # made once, and so already the second time
        subject.registry.change(subject.name, [right], reason="in time", actor="controller")
    assert subject.get("champion").semver == "v1.2.0"
    assert len(subject.changes()) == 5
