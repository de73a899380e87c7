"""The registry's commands, as a person on call uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autotrader.command import Result, to_plain
from autotrader.config.settings import Settings
from autotrader.deployment import requests
from autotrader.domain.errors import ConfigurationError, ExitCode, NotFound, Refused, Unreachable
from autotrader.domain.rollout import Stage
from autotrader.ports.events import EventType
from autotrader.ports.registry import Alias, ModelStatus
from autotrader.registry.get import get
from autotrader.registry.make_candidate import make_candidate
from autotrader.registry.mark_failed import mark_failed
from autotrader.registry.rollback import rollback
from tests.fakes.deployment import InMemoryDeploymentRecords
from tests.fakes.registry import InMemoryRegistry
from tests.models import candidate
from tests.unit.deployment.doubles import Deployment
from tests.unit.deployment.test_controller import begin, reach

NAME = "autotrader-strategy"


@pytest.fixture
def registry(tmp_path: Path) -> InMemoryRegistry:
    """v1.0.0 was champion, v1.1.0 is, v1.2.0 is a candidate, v1.3.0 was rejected."""
    registry = InMemoryRegistry()
    for key in "abcd":
        status = ModelStatus.REJECTED if key == "d" else ModelStatus.CANDIDATE
        registry.register(candidate(tmp_path, key, f"run-{key}", status=status), actor="training")
    for version in ("v1.0.0", "v1.1.0"):
        registry.set_status(NAME, version, ModelStatus.PRODUCTION, reason="rollout", actor="controller")
    registry.set_alias(NAME, Alias.CHAMPION, "v1.1.0", reason="rollout", actor="controller")
    registry.set_alias(NAME, Alias.PREVIOUS, "v1.0.0", reason="rollout", actor="controller")
    return registry


def back(
    registry: InMemoryRegistry,
    old: str,
    new: str,
    reason: str = "it loses money",
    records: InMemoryDeploymentRecords | None = None,
) -> Result:
    return rollback(
        from_version=old,
        to_version=new,
        reason=reason,
        settings=Settings(),
        registry=registry,
        records=records or InMemoryDeploymentRecords(NAME),
    )


def fail(
    registry: InMemoryRegistry,
    version: str,
    reason: str = "it loses money",
    records: InMemoryDeploymentRecords | None = None,
    model: str | None = None,
) -> Result:
    return mark_failed(
        version=version,
        reason=reason,
        model=model,
        settings=Settings(),
        registry=registry,
        records=records or InMemoryDeploymentRecords(NAME),
    )


def again(registry: InMemoryRegistry, version: str, reason: str = "the feed was at fault") -> Result:
    return make_candidate(version=version, reason=reason, settings=Settings(), registry=registry)


def aliases(registry: InMemoryRegistry) -> dict[str, str]:
    return {str(alias): v.semver for v in registry.list(NAME) for alias in v.aliases}


def state(registry: InMemoryRegistry) -> Any:
    return registry.list(NAME), registry.events.recent(type=EventType.REGISTRY)


def test_get_shows_what_a_version_is_and_was_made_of(registry: InMemoryRegistry) -> None:
    result = get(version="champion", settings=Settings(), registry=registry)
    assert result.text.startswith("autotrader-strategy v1.1.0 (number 2)\n")
    for part in ("production (rollout)", "champion", "6421acd", "balanced-v1", "run-b"):
        assert part in result.text
    data = to_plain(result.data)
    assert (data["semver"], data["status"], data["aliases"]) == ("v1.1.0", "production", ["champion"])


def test_get_of_an_unknown_version_or_model_is_not_found(registry: InMemoryRegistry) -> None:
    with pytest.raises(NotFound):
        get(version="v9.0.0", settings=Settings(), registry=registry)
    with pytest.raises(NotFound):
        get(version="v1.0.0", model="fx", settings=Settings(), registry=registry)


@pytest.fixture
def deployed() -> Deployment:
    """v1.0.0 was live, v1.1.0 is, v1.2.0 is being rolled out, and v1.3.0 is a candidate."""
    made = Deployment(versions=4)
    for version in made.versions[:2]:
        begin(made, version)
        made.run()
    reach(made, made.versions[2], Stage.CANARY)
    return made


def test_what_is_live_or_rolled_out_is_left_by_the_command_that_moves_traffic(deployed: Deployment) -> None:
    command = "python -m autotrader.deployment.emergency_rollback --version {} --reason REASON"
    for version, still in (("v1.2.0", "rolled out, at canary"), ("v1.1.0", "live on green")):
        result = fail(deployed.registry, version, records=deployed.records)
        assert to_plain(result.data)["rollback_needed"] is True
        assert still in result.text
        assert result.text.endswith(command.format(version))
    fail(deployed.registry, "v1.0.0", records=deployed.records)
    nobody = fail(deployed.registry, "v1.1.0", records=deployed.records)
    assert "--version v1.1.0 --to-version VERSION --reason REASON" in nobody.text
    assert "emergency_rollback" not in fail(deployed.registry, "v1.3.0", records=deployed.records).text


@pytest.mark.parametrize(("old", "new"), [("v1.1.0", "v1.0.0"), ("v1.2.0", "v1.1.0")])
def test_the_registry_alone_does_not_leave_what_has_traffic(deployed: Deployment, old: str, new: str) -> None:
    before = state(deployed.registry)
    with pytest.raises(Refused, match=f"emergency_rollback --version {old} --reason"):
        back(deployed.registry, old, new, records=deployed.records)
    assert state(deployed.registry) == before


def test_once_traffic_is_elsewhere_the_registry_may_follow(deployed: Deployment) -> None:
    requests.take_back(deployed.records, "it loses money", actor="ops", now=deployed.clock.now)
    left = back(deployed.registry, "v1.2.0", "v1.1.0", records=deployed.records)
    assert to_plain(left.data)["changed"] is True
    assert deployed.registry.get(NAME, "v1.2.0").status is ModelStatus.ARCHIVED


def test_a_version_that_failed_may_be_made_candidate_again_once(registry: InMemoryRegistry) -> None:
    fail(registry, "v1.2.0")
    done = again(registry, "v1.2.0")
    made = registry.get(NAME, "v1.2.0")
    assert (made.status, made.reason) == (ModelStatus.CANDIDATE, "the feed was at fault")
    assert to_plain(done.data)["changed"] is True
    before = state(registry)
    assert to_plain(again(registry, "v1.2.0", "once more").data)["changed"] is False
    assert state(registry) == before


@pytest.mark.parametrize(
    ("version", "said"),
    [("v1.1.0", "expected v1.1.0 to be failed, was production"), ("v1.3.0", "to be failed, was rejected")],
)
def test_only_a_version_that_failed_is_made_candidate_again(
    registry: InMemoryRegistry, version: str, said: str
) -> None:
    before = state(registry)
    with pytest.raises(Refused, match=said):
        again(registry, version)
    assert state(registry) == before


def test_no_version_that_failed_its_gates_is_made_candidate(registry: InMemoryRegistry) -> None:
    fail(registry, "v1.3.0")
    with pytest.raises(Refused, match="never passed its gates"):
        again(registry, "v1.3.0")


def test_a_refusal_of_what_failed_names_the_command_that_helps(registry: InMemoryRegistry) -> None:
    fail(registry, "v1.2.0")
    with pytest.raises(Refused, match=r"autotrader\.registry\.make_candidate --version v1\.2\.0 --reason"):
        registry.set_status(NAME, "v1.2.0", ModelStatus.STAGING, reason="rollout", actor="controller")


def test_mark_failed_keeps_the_reason(registry: InMemoryRegistry) -> None:
    result = fail(registry, "v1.2.0", "diverged from the offline model")
    marked = registry.get(NAME, "v1.2.0")
    assert (marked.status, marked.reason) == (ModelStatus.FAILED, "diverged from the offline model")
    assert result.exit_code is ExitCode.DONE
    assert to_plain(result.data)["rollback_needed"] is False
    assert "Roll back" not in result.text


def test_marking_the_champion_says_that_a_rollback_is_needed_and_how(registry: InMemoryRegistry) -> None:
    result = fail(registry, "v1.1.0")
    assert aliases(registry)["champion"] == "v1.1.0", "it moves no alias by itself"
    assert to_plain(result.data)["rollback_needed"] is True
    assert "rollback --from-version v1.1.0 --to-version v1.0.0" in result.text


def test_where_the_previous_one_failed_too_it_is_not_proposed(registry: InMemoryRegistry) -> None:
    fail(registry, "v1.0.0")
    assert "--to-version VERSION" in fail(registry, "v1.1.0").text


def test_marking_the_challenger_proposes_the_champion(registry: InMemoryRegistry) -> None:
    registry.set_alias(NAME, Alias.CHALLENGER, "v1.2.0", reason="rollout", actor="controller")
    assert "--from-version v1.2.0 --to-version v1.1.0" in fail(registry, "v1.2.0").text


def test_marking_an_unknown_version_or_without_a_reason_changes_nothing(
    registry: InMemoryRegistry,
) -> None:
    before = state(registry)
    with pytest.raises(NotFound):
        fail(registry, "v9.0.0")
    with pytest.raises(ConfigurationError, match="reason"):
        fail(registry, "v1.1.0", " ")
    assert state(registry) == before


def test_a_rollback_moves_champion_and_previous_and_both_statuses(registry: InMemoryRegistry) -> None:
    result = back(registry, "v1.1.0", "v1.0.0")
    assert aliases(registry) == {"champion": "v1.0.0", "previous": "v1.1.0"}
    assert registry.get(NAME, "v1.0.0").status is ModelStatus.PRODUCTION
    assert registry.get(NAME, "v1.1.0").status is ModelStatus.ARCHIVED
    assert registry.get(NAME, "v1.1.0").reason == "it loses money"
    assert "champion is v1.0.0" in result.text


def test_a_rollback_can_itself_be_rolled_back(registry: InMemoryRegistry) -> None:
    back(registry, "v1.1.0", "v1.0.0")
    back(registry, "v1.0.0", "v1.1.0", "the feed was at fault")
    assert aliases(registry) == {"champion": "v1.1.0", "previous": "v1.0.0"}
    assert registry.get(NAME, "v1.1.0").status is ModelStatus.PRODUCTION


def test_a_rollback_made_twice_is_made_once(registry: InMemoryRegistry) -> None:
    back(registry, "v1.1.0", "v1.0.0")
    before = state(registry)
    result = back(registry, "v1.1.0", "v1.0.0", "again")
    assert state(registry) == before
    assert to_plain(result.data)["changed"] is False


def test_nobody_is_led_back_to_a_version_that_failed(registry: InMemoryRegistry) -> None:
    fail(registry, "v1.1.0")
    back(registry, "v1.1.0", "v1.0.0")
    assert aliases(registry) == {"champion": "v1.0.0"}
    assert registry.get(NAME, "v1.1.0").status is ModelStatus.FAILED


@pytest.mark.parametrize("target", ["v1.3.0", "v1.2.0", "v1.1.0"])
def test_a_rollback_to_a_version_that_must_not_serve_is_refused(
    registry: InMemoryRegistry, target: str
) -> None:
    fail(registry, "v1.2.0")
    before = state(registry)
    with pytest.raises(Refused, match="Nothing was changed"):
        back(registry, "v1.1.0", target)
    assert state(registry) == before


def test_a_rejected_version_stays_refused_after_it_was_archived(registry: InMemoryRegistry) -> None:
    registry.set_status(NAME, "v1.3.0", ModelStatus.ARCHIVED, reason="tidy", actor="ops")
    with pytest.raises(Refused, match="never passed its gates"):
        back(registry, "v1.1.0", "v1.3.0")


def test_a_rollback_from_what_is_not_live_is_refused(registry: InMemoryRegistry) -> None:
    before = state(registry)
    with pytest.raises(Refused, match=r"expected v1\.2\.0 to be champion"):
        back(registry, "v1.2.0", "v1.0.0")
    assert state(registry) == before


def test_a_challenger_is_withdrawn(registry: InMemoryRegistry) -> None:
    registry.set_alias(NAME, Alias.CHALLENGER, "v1.2.0", reason="rollout", actor="controller")
    back(registry, "v1.2.0", "v1.1.0")
    assert aliases(registry) == {"champion": "v1.1.0", "previous": "v1.0.0"}
    assert registry.get(NAME, "v1.2.0").status is ModelStatus.ARCHIVED


def test_a_rollback_of_unknown_versions_or_without_a_reason_changes_nothing(
    registry: InMemoryRegistry,
) -> None:
    before = state(registry)
    with pytest.raises(NotFound):
        back(registry, "v1.1.0", "v9.0.0")
    with pytest.raises(NotFound):
        back(registry, "v9.0.0", "v1.0.0")
    with pytest.raises(ConfigurationError, match="reason"):
        back(registry, "v1.1.0", "v1.0.0", "")
    assert state(registry) == before


def test_who_acted_is_the_operating_systems_user(registry: InMemoryRegistry) -> None:
    fail(registry, "v1.2.0")
    actor = registry.events.recent()[0].actor
    assert "@" in actor
    assert not actor.startswith("@")


def test_a_registry_that_is_away_is_unreachable(registry: InMemoryRegistry) -> None:
    registry.reachable = False
    with pytest.raises(Unreachable):
        back(registry, "v1.1.0", "v1.0.0")
