"""Back to the version before, at once where it is warm; by hand, from whichever colour is live."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotrader.config.settings import Environment, Settings
from autotrader.deployment import requests
from autotrader.deployment.blue_green.deploy_green import deploy_green
from autotrader.deployment.blue_green.switch_traffic import switch_traffic
from autotrader.deployment.blue_green.wait_for_ready import wait_for_ready
from autotrader.deployment.controller import StageResult
from autotrader.deployment.deploy import WatchProfile, deploy
from autotrader.deployment.emergency_rollback import emergency_rollback
from autotrader.deployment.get_status import get_status
from autotrader.deployment.list_versions import list_versions
from autotrader.deployment.returning import Way
from autotrader.domain.errors import ConfigurationError, ExitCode, NotFound, Refused, Rejected, Unreachable
from autotrader.domain.rollout import DIRECT, Color, RolloutState, Stage
from autotrader.ports.deployment import SlotState
from autotrader.ports.registry import ModelStatus
from tests.unit.deployment.doubles import MODEL, PASSED, Deployment
from tests.unit.deployment.test_controller import BAD, begin, reach


@pytest.fixture
def settings() -> Settings:
    return Settings(
        binance={"instruments": ("BTCUSDT", "ETHUSDT", "SOLUSDT", "ARBUSDT", "BNBUSDT", "XRPUSDT")}
    )


def roll_back(
    deployment: Deployment, settings: Settings, reason: str = "it loses money", version: str | None = None
):
    return emergency_rollback(
        reason=reason,
        version=version,
        timeout_seconds=0,
        settings=settings,
        records=deployment.records,
        registry=deployment.registry,
        target=deployment.target,
        clock=deployment.clock,
    )


def test_emergency_rollback_returns_all_traffic_without_a_controller(
    live: Deployment, settings: Settings
) -> None:
    result = roll_back(live, settings)
    assert (result.exit_code, result.data["live"], result.data["left"]) == (
        ExitCode.DONE,
        live.versions[0],
        live.versions[1],
    )
    assert set(live.owners().values()) == {Color.BLUE}
    assert live.registry.get(MODEL, "champion").semver == live.versions[0]
    assert live.registry.get(MODEL, "previous").semver == live.versions[1]


def test_a_rollback_can_itself_be_rolled_back(live: Deployment, settings: Settings) -> None:
    roll_back(live, settings)
    roll_back(live, settings, "it was not the model", live.versions[0])
    assert set(live.owners().values()) == {Color.GREEN}
    assert live.registry.get(MODEL, "champion").semver == live.versions[1]
    assert live.registry.get(MODEL, live.versions[1]).status is ModelStatus.PRODUCTION


def test_during_a_rollout_it_is_the_rollout_that_is_taken_back(live: Deployment, settings: Settings) -> None:
    reach(live, live.versions[2], Stage.HALF)
    result = roll_back(live, settings)
    assert result.data["left"] == live.versions[2]
    assert set(live.owners().values()) == {Color.GREEN}


def test_a_cold_version_is_started_by_the_controller_first(live: Deployment, settings: Settings) -> None:
    live.clock.move(25 * 3600)
    live.controller.tick()
    assert Color.BLUE not in live.target.running
    with pytest.raises(Unreachable, match="is under way: it goes on"):
        roll_back(live, settings)
    assert set(live.owners().values()) == {Color.GREEN}
    live.run()
    assert set(live.owners().values()) == {Color.BLUE}


@pytest.mark.parametrize(
    "broken",
    [
        ConfigurationError("credentials are expired"),
        Rejected("no room for another task"),
        Unreachable("AWS did not answer"),
        BAD,
    ],
)
def test_a_way_back_that_did_not_succeed_can_be_tried_again(
    live: Deployment, settings: Settings, broken: StageResult | Exception
) -> None:
    first, second = live.versions[:2]
    live.clock.move(25 * 3600)
    live.controller.tick()
    live.work.up = broken
    with pytest.raises(Unreachable):
        roll_back(live, settings)
    live.run(ticks=400)
    way_back = live.records.recent(1)[0]
    assert (way_back.version, way_back.state) == (first, RolloutState.ROLLED_BACK)
    assert way_back.is_faulty is (broken is BAD)
    live.clock.move(10)
    live.controller.tick()
    assert live.registry.get(MODEL, first).status is ModelStatus.ARCHIVED, "as before"
    assert live.registry.get(MODEL, "previous").semver == first
    assert live.registry.get(MODEL, "champion").semver == second
    live.work.up = PASSED
    with pytest.raises(Unreachable):
        roll_back(live, settings)
    live.run()
    assert set(live.owners().values()) == {Color.BLUE}
    assert live.registry.get(MODEL, first).status is ModelStatus.PRODUCTION


def test_a_version_that_was_live_longer_ago_stays_what_it_was_while_it_comes_up_and_when_it_does_not(
    live: Deployment, settings: Settings
) -> None:
    first, second, third = live.versions
    begin(live, third)
    live.run()
    begin(live, first, profile=DIRECT, goal=Stage.INTEGRATION_TESTS)
    live.work.tests = BAD
    for _ in range(3):
        live.controller.tick()
        live.clock.move(5)
        assert live.registry.get(MODEL, first).status is ModelStatus.ARCHIVED
    live.run()
    assert live.records.recent(1)[0].state is RolloutState.ROLLED_BACK
    assert live.registry.get(MODEL, first).status is ModelStatus.ARCHIVED
    assert live.registry.get(MODEL, "previous").semver == second


def test_a_version_that_was_live_is_not_failed_by_its_way_back_whatever_the_registry_showed(
    live: Deployment,
) -> None:
    first = live.versions[0]
    begin(live, first, profile=DIRECT)
    live.registry.set_status(
        MODEL, first, ModelStatus.PRODUCTION, reason="late to follow", actor="controller"
    )
    live.work.tests = BAD
    live.run()
    assert live.records.recent(1)[0].is_faulty
    live.clock.move(10)
    live.controller.tick()
    assert live.registry.get(MODEL, first).status is ModelStatus.ARCHIVED


def test_who_rolls_back_unnamed_twice_or_beside_another_is_asked_which_version(
    live: Deployment, settings: Settings
) -> None:
    first, second = live.versions[:2]
    roll_back(live, settings, "p99 is 2 s")
    at = f"{live.clock.now():%F %T}"
    live.clock.move(599)
    with pytest.raises(
        Refused, match=rf"left {second} for {first} at {at} UTC \(p99 is 2 s\).*--version {first}"
    ):
        roll_back(live, settings)
    assert set(live.owners().values()) == {Color.BLUE}
    assert roll_back(live, settings, version=second).data["changed"] is False
    live.clock.move(1)
    roll_back(live, settings)
    assert set(live.owners().values()) == {Color.GREEN}


def test_an_unnamed_rollback_does_not_cancel_the_one_that_is_under_way(
    live: Deployment, settings: Settings
) -> None:
    first, second = live.versions[:2]
    live.clock.move(25 * 3600)
    live.controller.tick()
    with pytest.raises(Unreachable):
        roll_back(live, settings)
    with pytest.raises(Refused, match=f"began to leave {second} for {first} at"):
        roll_back(live, settings)
    with pytest.raises(Unreachable, match="it goes on"):
        roll_back(live, settings, version=second)
    assert roll_back(live, settings, "not so bad", version=first).data["way"] is Way.TAKE_BACK
    live.run()
    assert set(live.owners().values()) == {Color.GREEN}


def test_what_was_brought_up_by_hand_is_taken_back_unnamed(live: Deployment, settings: Settings) -> None:
    begin(live, live.versions[2], profile=DIRECT, goal=Stage.INTEGRATION_TESTS)
    assert roll_back(live, settings).data["left"] == live.versions[2]


def test_a_colour_that_is_recorded_as_warm_and_does_not_answer_is_not_switched_to(
    live: Deployment, settings: Settings
) -> None:
    live.target.running.pop(Color.BLUE)
    with pytest.raises(Unreachable):
        roll_back(live, settings)
    assert set(live.owners().values()) == {Color.GREEN}
    live.run()
    assert set(live.owners().values()) == {Color.BLUE}


def stop_what_is_warm(deployment: Deployment) -> None:
    deployment.clock.move(25 * 3600)
    deployment.controller.tick()


def require_live(deployment: Deployment, version: str, color: Color) -> None:
    """Raise unless all that is recorded says so, and the colour runs."""
    assert set(deployment.owners().values()) == {color}
    assert deployment.records.slots()[color].serves(version)
    assert deployment.target.running[color] == version


def test_a_rollback_to_a_colour_that_is_being_stopped_starts_it_again(
    live: Deployment, settings: Settings
) -> None:
    heard: list[str] = []

    def roll_back_meanwhile() -> None:
        with pytest.raises(Unreachable, match="is under way: it goes on") as refusal:
            roll_back(live, settings)
        heard.append(str(refusal.value))

    live.target.meanwhile["stop"] = roll_back_meanwhile
    stop_what_is_warm(live)
    assert len(heard) == 1
    live.run()
    require_live(live, live.versions[0], Color.BLUE)


def test_a_colour_that_is_stopped_just_as_a_rollback_looks_at_it_is_started_again(
    live: Deployment, settings: Settings
) -> None:
    live.target.meanwhile["health"] = lambda: stop_what_is_warm(live)
    with pytest.raises(Unreachable, match="is under way: it goes on"):
        roll_back(live, settings)
    assert live.records.slots()[Color.BLUE].state is SlotState.EMPTY
    live.run()
    require_live(live, live.versions[0], Color.BLUE)


def test_a_colour_whose_stop_was_cut_off_is_stopped_by_the_next_controller(live: Deployment) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    live.target.meanwhile["stop"] = die
    with pytest.raises(KeyboardInterrupt):
        stop_what_is_warm(live)
    assert live.records.slots()[Color.BLUE].state is SlotState.STOPPING
    live.restart()
    live.controller.tick()
    assert live.records.slots()[Color.BLUE].state is SlotState.EMPTY
    assert live.target.running == {Color.GREEN: live.versions[1]}


def test_a_switch_that_finds_the_live_colour_started_again_meanwhile_keeps_its_new_endpoint(
    live: Deployment, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = live.records.slots

    def slots_read_before_they_change():
        found = read()
        green = found[Color.GREEN]
        if live.records.active() is not None and green.endpoint != "http://127.0.0.1/again":
            live.records.set_slot(replace(green, endpoint="http://127.0.0.1/again"))
        return found

    monkeypatch.setattr(live.records, "slots", slots_read_before_they_change)
    assert roll_back(live, settings).exit_code is ExitCode.DONE
    assert live.records.slots()[Color.GREEN].endpoint == "http://127.0.0.1/again"
    assert live.records.slots()[Color.GREEN].warm_until is not None


def test_nothing_to_return_to_is_refused(settings: Settings) -> None:
    deployment = Deployment()
    with pytest.raises(Refused, match="none live before"):
        roll_back(deployment, settings)


def test_a_reason_is_required(live: Deployment, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="reason"):
        roll_back(live, settings, " ")
    assert set(live.owners().values()) == {Color.GREEN}


def test_a_registry_that_is_down_leaves_traffic_moved_and_says_what_is_pending(
    live: Deployment, settings: Settings
) -> None:
    live.registry.reachable = False
    result = roll_back(live, settings)
    assert result.exit_code is ExitCode.UNREACHABLE
    assert "still to do: registry" in result.text
    assert set(live.owners().values()) == {Color.BLUE}


def switch(deployment: Deployment, settings: Settings, from_env: Color, to_env: Color, timeout: float = 0):
    return switch_traffic(
        from_env=from_env,
        to_env=to_env,
        timeout=timeout,
        settings=settings,
        records=deployment.records,
        registry=deployment.registry,
        target=deployment.target,
        clock=deployment.clock,
    )


def test_traffic_is_switched_back_by_hand_from_the_colour_that_is_live(
    live: Deployment, settings: Settings
) -> None:
    with pytest.raises(Refused, match="expected the other colour"):
        switch(live, settings, Color.GREEN, Color.GREEN)
    assert switch(live, settings, Color.GREEN, Color.BLUE).exit_code is ExitCode.DONE
    assert set(live.owners().values()) == {Color.BLUE}
    assert "already" in switch(live, settings, Color.GREEN, Color.BLUE).text
    reach(live, live.versions[2], Stage.CANARY)
    with pytest.raises(Refused, match="expected --from-env blue, which is live"):
        switch(live, settings, Color.GREEN, Color.BLUE)


def test_traffic_is_not_switched_by_hand_to_a_version_that_failed(
    live: Deployment, settings: Settings
) -> None:
    live.registry.set_status(MODEL, live.versions[0], ModelStatus.FAILED, reason="late", actor="anna")
    with pytest.raises(Refused, match="late"):
        switch(live, settings, Color.GREEN, Color.BLUE)
    begin(live, live.versions[2], profile=DIRECT, goal=Stage.INTEGRATION_TESTS)
    live.run(ticks=10)
    live.registry.set_status(MODEL, live.versions[2], ModelStatus.FAILED, reason="wrong", actor="anna")
    with pytest.raises(Refused, match="wrong"):
        switch(live, settings, Color.GREEN, Color.BLUE)
    live.run(ticks=10)
    assert set(live.owners().values()) == {Color.GREEN}


def test_traffic_is_switched_by_hand_while_the_registry_does_not_answer(
    live: Deployment, settings: Settings
) -> None:
    live.registry.reachable = False
    assert switch(live, settings, Color.GREEN, Color.BLUE).exit_code is ExitCode.UNREACHABLE
    assert set(live.owners().values()) == {Color.BLUE}


def test_a_version_is_brought_up_waited_for_and_switched_to(live: Deployment, settings: Settings) -> None:
    ports = {"settings": settings, "records": live.records, "clock": live.clock}
    with pytest.raises(Refused, match="expected environment dev"):
        deploy_green(
            model_version=live.versions[2],
            environment=Environment.PRODUCTION,
            registry=live.registry,
            **ports,
        )
    up = deploy_green(
        model_version="latest",
        environment=Environment.DEV,
        registry=live.registry,
        **ports,
    )
    assert up.data["color"] is Color.BLUE
    live.run(ticks=10)
    ready = wait_for_ready(timeout=0, **ports)
    assert (ready.exit_code, ready.data["ready"]) == (ExitCode.DONE, True)
    assert set(live.owners().values()) == {Color.GREEN}
    with pytest.raises(Unreachable):
        switch(live, settings, Color.GREEN, Color.BLUE)
    live.run()
    assert set(live.owners().values()) == {Color.BLUE}
    assert live.registry.get(MODEL, "champion").semver == live.versions[2]


def test_waiting_for_nothing_says_so(live: Deployment, settings: Settings) -> None:
    with pytest.raises(NotFound, match="deploy_green"):
        wait_for_ready(timeout=0, settings=settings, records=live.records, clock=live.clock)


def test_deploy_refuses_a_version_that_failed(live: Deployment, settings: Settings) -> None:
    live.registry.set_status(
        MODEL, live.versions[2], ModelStatus.FAILED, reason="wrong on Mondays", actor="anna"
    )
    with pytest.raises(Refused, match="wrong on Mondays"):
        deploy(
            version=live.versions[2],
            settings=settings,
            records=live.records,
            registry=live.registry,
            target=live.target,
            clock=live.clock,
        )


def test_deploy_latest_takes_the_newest_that_may_serve(live: Deployment, settings: Settings) -> None:
    begun = deploy(
        version="latest",
        profile=WatchProfile.FAST,
        wait=False,
        settings=settings,
        records=live.records,
        registry=live.registry,
        target=live.target,
        clock=live.clock,
    )
    assert begun.data["version"] == live.versions[2]


def test_status_shows_what_is_live_what_rolls_out_and_who_answers(live: Deployment) -> None:
    reach(live, live.versions[2], Stage.CANARY)
    result = get_status(records=live.records, target=live.target, clock=live.clock)
    assert (result.data.active_color, result.data.active_version) == (Color.GREEN, live.versions[1])
    assert result.data.stage == "canary"
    owners = {r.instrument: r.color for r in result.data.routes}
    assert [i for i, c in owners.items() if c is Color.BLUE] == ["binance:BTCUSDT", "binance:ETHUSDT"]
    assert result.data.routes[0].weights == {"blue": 0, "green": 100}
    for words in ("live        v1.1.0 on green", "rolling out v1.2.0 on blue: canary", "controller  at work"):
        assert words in result.text


def test_status_names_a_controller_that_is_silent(live: Deployment) -> None:
    live.clock.move(600)
    assert "SILENT for 6" in get_status(records=live.records, target=live.target, clock=live.clock).text


def test_versions_are_listed_with_what_became_of_them(live: Deployment, settings: Settings) -> None:
    reach(live, live.versions[2], Stage.CANARY)
    live.watch.sees = BAD
    live.run()
    result = list_versions(settings=settings, registry=live.registry, records=live.records)
    lines = {line.version: line for line in result.data}
    assert lines[live.versions[2]].why_not is not None
    assert BAD.reason in lines[live.versions[2]].why_not
    assert (lines[live.versions[1]].color, lines[live.versions[1]].may_serve) == ("green", True)
    assert live.records.find(live.records.recent(1)[0].id).state is RolloutState.ROLLED_BACK


def test_asking_without_a_controller_says_that_there_is_none() -> None:
    deployment = Deployment()
    with pytest.raises(Unreachable, match="expected a controller at work, was none ever"):
        requests.require_controller(deployment.records, deployment.clock.now())


def test_a_front_door_that_cannot_be_moved_leaves_traffic_moved_and_is_pending(
    live: Deployment, settings: Settings
) -> None:
    live.target.broken = Unreachable("AWS did not answer")
    result = roll_back(live, settings)
    assert result.exit_code == ExitCode.UNREACHABLE
    assert result.data["pending"] == ("front door: AWS did not answer",)
    assert set(live.owners().values()) == {Color.BLUE}
    live.target.broken = None
    live.clock.move(10)
    live.controller.tick()
    assert live.target.shown is Color.BLUE
    status = get_status(records=live.records, target=live.target, clock=live.clock)
    assert "pending" not in status.text
