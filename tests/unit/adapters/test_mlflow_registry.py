"""What the registry does when MLflow is away, was changed by hand, or shows what we do not know."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.mlflow_registry import SILENCE_SECONDS, MlflowRegistry
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.errors import BadData, ConfigurationError, NotFound, Unreachable
from autotrader.ports.events import Event
from autotrader.ports.registry import Alias, ModelCandidate, ModelStatus, ModelVersion
from tests.fakes.mlflow_server import Refusal, StandInMlflow, serve
from tests.models import candidate
from tests.services import fresh_database

NAME = "autotrader-strategy"


class Clock(SystemWallClock):
    """Whose monotonic time a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class World:
    mlflow: StandInMlflow
    uri: str
    folder: Path
    database: str
    registry: MlflowRegistry = field(init=False)

    def __post_init__(self) -> None:
        self.registry = self.open()

    def open(self, database: str | None = None) -> MlflowRegistry:
        engine = open_database(database or self.database)
        return MlflowRegistry(self.uri, engine, SqlEventLog(engine), SystemWallClock())

    def candidate(self, key: str, status: ModelStatus = ModelStatus.CANDIDATE) -> ModelCandidate:
        return candidate(self.folder, key, self.mlflow.make_run(), status=status)

    def register(self, key: str, status: ModelStatus = ModelStatus.CANDIDATE) -> ModelVersion:
        return self.registry.register(self.candidate(key, status), actor="training")

    def events(self) -> list[Event]:
        return list(reversed(SqlEventLog(open_database(self.database)).recent()))

    def lose_mlflow(self) -> None:
        def refuse(method: str, path: str) -> None:
            raise Refusal("TEMPORARILY_UNAVAILABLE", "down for the test", 502)

        self.mlflow.before = refuse

    def find_mlflow(self) -> None:
        self.mlflow.before = lambda _method, _path: None

    def tags(self, number: int) -> dict[str, str]:
        tags: dict[str, str] = self.mlflow.versions[NAME, number]["tags"]
        return tags


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    mlflow = StandInMlflow()
    with serve(mlflow) as uri:
        yield World(mlflow, uri, tmp_path, fresh_database("sqlite", tmp_path))


def test_without_mlflow_nothing_is_registered_and_the_same_call_goes_on_later(world: World) -> None:
    given = world.candidate("a")
    world.lose_mlflow()
    with pytest.raises(Unreachable, match="run it again"):
        world.registry.register(given, actor="training")
    assert world.events() == []
    world.find_mlflow()
    assert world.registry.list(NAME) == []
    assert world.registry.register(given, actor="training").semver == "v1.0.0"


def test_mlflow_lost_in_the_middle_of_an_upload_leaves_no_version(world: World) -> None:
    def refuse_third_file(method: str, path: str) -> None:
        if path.endswith("signature.json"):
            raise Refusal("INTERNAL_ERROR", "disk full", 500)

    given = world.candidate("a")
    world.mlflow.before = refuse_third_file
    with pytest.raises(Unreachable, match="disk full"):
        world.registry.register(given, actor="training")
    assert world.mlflow.versions == {}
    world.find_mlflow()
    assert world.registry.register(given, actor="training").semver == "v1.0.0"
    assert world.register("b").semver == "v1.1.0"


def test_without_mlflow_a_change_is_decided_and_shown_by_the_next_call(world: World) -> None:
    world.register("a")
    world.lose_mlflow()
    with pytest.raises(Unreachable, match=r"decided.*v1\.0\.0: candidate -> failed \(lost money\)"):
        world.registry.set_status(NAME, "v1.0.0", ModelStatus.FAILED, reason="lost money", actor="ops")
    assert world.registry.get(NAME, "v1.0.0").status is ModelStatus.FAILED
    assert [e.data["kind"] for e in world.events()] == ["registered", "status"]
    assert world.tags(1)["status"] == "candidate"
    world.find_mlflow()
    world.open().get(NAME, "v1.0.0")
    assert (world.tags(1)["status"], world.tags(1)["reason"]) == ("failed", "lost money")
    assert [e.data["kind"] for e in world.events()] == ["registered", "status"]


def test_without_mlflow_changes_add_up(world: World) -> None:
    world.register("a")
    world.register("b")
    world.lose_mlflow()
    for version in ("v1.0.0", "v1.1.0"):
        with pytest.raises(Unreachable, match="still to be shown"):
            world.registry.set_alias(NAME, Alias.CHAMPION, version, reason="rollout", actor="ops")
    world.find_mlflow()
    assert world.registry.get(NAME, "champion").semver == "v1.1.0"
    assert world.mlflow.models[NAME] == {"champion": "2"}


def test_without_mlflow_what_we_know_is_still_answered(world: World) -> None:
    made = world.register("a")
    world.lose_mlflow()
    assert world.registry.get(NAME, "v1.0.0") == made
    assert world.registry.list(NAME) == [made]
    with pytest.raises(Unreachable):
        world.registry.get(NAME, "v1.1.0")
    with pytest.raises(Unreachable):
        world.registry.list("another-strategy")


def test_readers_that_met_a_silent_mlflow_leave_it_alone_for_a_while(world: World) -> None:
    clock = Clock()
    engine = open_database(world.database)
    registry = MlflowRegistry(world.uri, engine, SqlEventLog(engine), clock)
    world.register("a")
    world.lose_mlflow()
    with pytest.raises(Unreachable):
        registry.set_status(NAME, "v1.0.0", ModelStatus.FAILED, reason="lost money", actor="ops")
    asked = len(world.mlflow.requests)
    for _ in range(8):
        assert registry.get(NAME, "v1.0.0").status is ModelStatus.FAILED
        assert len(registry.list(NAME)) == 1
    assert len(world.mlflow.requests) == asked + 1
    world.find_mlflow()
    clock.seconds += SILENCE_SECONDS
    registry.get(NAME, "v1.0.0")
    assert world.tags(1)["status"] == "failed"


def test_where_nothing_is_pending_reading_asks_mlflow_nothing(world: World) -> None:
    world.register("a")
    world.registry.set_alias(NAME, Alias.CHAMPION, "v1.0.0", reason="rollout", actor="ops")
    before = len(world.mlflow.requests)
    world.registry.get(NAME, "champion")
    assert len(world.mlflow.requests) == before


def test_a_server_that_is_not_there_is_noticed_within_seconds(tmp_path: Path) -> None:
    engine = open_database(fresh_database("sqlite", tmp_path))
    registry = MlflowRegistry("http://127.0.0.1:9", engine, SqlEventLog(engine), SystemWallClock())
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        registry.get(NAME, "v1.0.0")


def test_a_creation_whose_answer_was_lost_is_found_again(world: World) -> None:
    answer = world.mlflow.answer

    def lose_answer(method: str, path: str, query: dict[str, object], body: bytes) -> bytes:
        content = answer(method, path, query, body)
        if path.endswith("model-versions/create"):
            raise Refusal("INTERNAL_ERROR", "answer lost", 500)
        return content

    given = world.candidate("a")
    world.mlflow.answer = lose_answer  # type: ignore[method-assign]
    with pytest.raises(Unreachable, match="answer lost"):
        world.registry.register(given, actor="training")
    world.mlflow.answer = answer  # type: ignore[method-assign]
    made = world.registry.register(given, actor="training")
    assert (made.version, list(world.mlflow.versions)) == (1, [(NAME, 1)])
    assert [e.actor for e in world.events()] == ["training"]


def test_a_creation_that_arrived_late_and_twice_is_one_version(world: World) -> None:
    made = world.register("a")
    late = world.mlflow.versions[NAME, 1] | {"version": "2"}
    world.mlflow.versions[NAME, 2] = late | {"tags": dict(late["tags"])}
    assert world.registry.list(NAME) == [made]
    assert list(world.mlflow.versions) == [(NAME, 1)]


def test_a_file_that_mlflow_keeps_wrong_is_not_registered(world: World) -> None:
    answer = world.mlflow.answer

    def cut(method: str, path: str, query: dict[str, object], body: bytes) -> bytes:
        is_model = method == "PUT" and path.endswith("model.onnx")
        return answer(method, path, query, body[:-1] if is_model else body)

    world.mlflow.answer = cut  # type: ignore[method-assign]
    with pytest.raises(BadData, match=r"model\.onnx"):
        world.register("a")
    assert world.mlflow.versions == {}


def test_registrations_of_one_training_at_once_make_one_version(world: World) -> None:
    given = world.candidate("a")
    made: list[ModelVersion] = []
    threads = [
        threading.Thread(target=lambda: made.append(world.open().register(given, actor="training")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [made[0]] * 4
    assert list(world.mlflow.versions) == [(NAME, 1)]
    assert len(world.events()) == 1


def test_registrations_of_several_trainings_at_once_take_a_semver_each(world: World) -> None:
    made: list[str] = []
    given = [world.candidate(key) for key in "abcd"]

    def register(one: ModelCandidate) -> None:
        made.append(world.open().register(one, actor="training").semver)

    threads = [threading.Thread(target=register, args=(one,)) for one in given]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == ["v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0"]


def test_a_new_database_takes_over_what_mlflow_has(world: World) -> None:
    first, second = world.register("a"), world.register("b", ModelStatus.REJECTED)
    world.registry.set_alias(NAME, Alias.CHAMPION, "v1.0.0", reason="rollout", actor="ops")
    other = world.open(f"sqlite:///{world.folder}/other.db")
    assert other.get(NAME, "champion").semver == "v1.0.0"
    assert [v.semver for v in other.list(NAME)] == ["v1.1.0", "v1.0.0"]
    adopted = other.get(NAME, "v1.1.0")
    assert (adopted.status, adopted.onnx_sha256) == (second.status, second.onnx_sha256)
    assert other.fetch_artifact(first, "model.onnx", world.folder / "serving").is_file()
    assert other.register(world.candidate("c"), actor="training").semver == "v1.2.0"


def test_a_version_that_is_not_whole_is_passed_over_but_its_semver_is_taken(world: World) -> None:
    world.register("a")
    tags = {k: v for k, v in world.tags(1).items() if k != "onnx_sha256"}
    by_hand = {"version": "2", "tags": tags | {"semver": "v2.0.0", "training_key": "by hand"}}
    world.mlflow.versions[NAME, 2] = world.mlflow.versions[NAME, 1] | by_hand
    assert [v.semver for v in world.registry.list(NAME)] == ["v1.0.0"]
    with pytest.raises(NotFound):
        world.registry.get(NAME, "v2.0.0")
    assert world.register("b").semver == "v2.1.0"


@pytest.mark.parametrize(
    "spoilt",
    [{"status": "great"}, {"semver": "v1"}, {"digests": "{"}, {"digests": "{}"}, {"semver": "v1.0.0"}],
)
def test_a_foreign_version_with_nonsense_in_its_tags_is_passed_over(
    world: World, spoilt: dict[str, str]
) -> None:
    made = world.register("a")
    tags = world.tags(1) | {"semver": "v7.0.0", "training_key": "foreign"} | spoilt
    world.mlflow.versions[NAME, 2] = world.mlflow.versions[NAME, 1] | {"version": "2", "tags": tags}
    assert world.registry.list(NAME) == [made]


def test_what_was_changed_by_hand_is_set_back(world: World) -> None:
    world.register("a")
    world.register("b")
    world.registry.set_alias(NAME, Alias.CHAMPION, "v1.0.0", reason="rollout", actor="ops")
    world.registry.set_alias(NAME, Alias.CHALLENGER, "v1.1.0", reason="rollout", actor="ops")
    world.registry.set_alias(NAME, Alias.CHALLENGER, None, reason="rollout", actor="ops")
    world.tags(1).update(status="production", onnx_sha256="0" * 64)
    world.mlflow.models[NAME] = {"champion": "2", "challenger": "1", "mine": "1"}
    world.registry.list(NAME)
    assert world.tags(1)["status"] == "candidate"
    assert world.tags(1)["onnx_sha256"] != "0" * 64
    assert world.mlflow.models[NAME] == {"champion": "1", "mine": "1"}


def test_an_alias_set_by_hand_is_taken_over_where_it_may_point_there(world: World) -> None:
    world.register("a")
    world.register("b", ModelStatus.REJECTED)
    world.mlflow.models[NAME] = {"champion": "1", "challenger": "2", "previous": "9"}
    assert world.registry.get(NAME, "champion").semver == "v1.0.0"
    assert world.mlflow.models[NAME] == {"champion": "1"}
    assert [(e.actor, e.data["kind"]) for e in world.events()][2:] == [("mlflow", "champion")]


def test_versions_that_mlflow_lost_are_not_shown_and_come_back_as_they_were(world: World) -> None:
    world.register("a")
    world.registry.set_alias(NAME, Alias.CHAMPION, "v1.0.0", reason="rollout", actor="ops")
    before = world.registry.list(NAME)
    kept = world.mlflow.versions, world.mlflow.models
    world.mlflow.versions, world.mlflow.models = {}, {}
    assert world.registry.list(NAME) == []
    with pytest.raises(NotFound):
        world.registry.get(NAME, "champion")
    assert world.register("b").semver == "v1.1.0"
    assert world.register("b2").version == 2
    world.mlflow.versions, world.mlflow.models = kept
    assert world.registry.list(NAME) == before
    assert [e.data["kind"] for e in world.events()] == [
        *("registered", "champion", "lost", "registered", "registered"),
        *("lost", "lost", "found"),
    ]


def test_a_model_name_that_a_query_could_trip_over_is_refused(world: World) -> None:
    for name in ("", "a'b", "../x", "a b"):
        with pytest.raises(ConfigurationError, match="model name"):
            world.registry.get(name, "v1.0.0")


def test_an_artefact_that_is_there_already_is_not_fetched_again(world: World) -> None:
    made = world.register("a")
    folder = world.folder / "serving"
    world.registry.fetch_artifact(made, "model.onnx", folder)
    world.lose_mlflow()
    assert world.registry.fetch_artifact(made, "model.onnx", folder).is_file()
    (folder / "model.onnx").write_bytes(b"cut")
    with pytest.raises(Unreachable):
        world.registry.fetch_artifact(made, "model.onnx", folder)


def test_the_digest_in_our_database_counts_not_that_of_the_caller(world: World) -> None:
    made = world.register("a")
    path = next(p for p in world.mlflow.artifacts if p.endswith("model.onnx"))
    world.mlflow.artifacts[path] = b"another"
    forged = replace(made, onnx_sha256="", tags={**made.tags, "digests": json.dumps({})})
    with pytest.raises(BadData):
        world.registry.fetch_artifact(forged, "model.onnx", world.folder / "serving")
