"""Leaving a version that is named: never another one, however often and late it is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.deployment.blue_green.drain import drain
from autotrader.deployment.blue_green.scale_down import scale_down
from autotrader.deployment.check_agreement import check_agreement
from autotrader.deployment.deploy import deploy
from autotrader.deployment.emergency_rollback import emergency_rollback
from autotrader.deployment.returning import Way, way_back
from autotrader.domain.errors import ConfigurationError, ExitCode, NotFound, Refused, Unreachable
from autotrader.domain.rollout import Color, Stage
from autotrader.ports.deployment import SlotState
from autotrader.ports.registry import ModelStatus
from tests.unit.deployment.doubles import MODEL, Deployment
from tests.unit.deployment.test_controller import reach


@pytest.fixture
def settings() -> Settings:
    return Settings(
        binance={"instruments": ("BTCUSDT", "ETHUSDT", "SOLUSDT", "ARBUSDT", "BNBUSDT", "XRPUSDT")},
        serving={"drain_seconds": 0},
    )


def leave(live: Deployment, settings: Settings, version: str, **more: Any) -> command.Result:
    return emergency_rollback(
        reason="bad",
        version=version,
        timeout_seconds=0,
        settings=settings,
        records=live.records,
        registry=live.registry,
        target=live.target,
        clock=live.clock,
        **more,
    )


def agreement(deployment: Deployment, settings: Settings, **more: Any) -> command.Result:
    return check_agreement(
        settings=settings,
        records=deployment.records,
        registry=deployment.registry,
        target=deployment.target,
        clock=deployment.clock,
        **more,
    )


def stop(live: Deployment, version: str, timeout: float = 0) -> command.Result:
    return scale_down(version=version, reason="bad", timeout=timeout, records=live.records, clock=live.clock)


def test_a_colour_that_is_stopped_just_as_it_is_asked_for_stays_stopped(
    live: Deployment, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = live.versions[1]
    leave(live, settings, second)
    read = live.records.slots

    def slots_read_before_they_change():
        found = read()
        if found[Color.GREEN].state is SlotState.READY:
            live.records.set_slot(replace(found[Color.GREEN], state=SlotState.STOPPING))
        return found

    monkeypatch.setattr(live.records, "slots", slots_read_before_they_change)
    with pytest.raises(Unreachable, match="the controller goes on"):
        stop(live, second)
    assert read()[Color.GREEN].state is SlotState.STOPPING
    live.controller.tick()
    assert stop(live, second).text == f"nothing runs of {second}"


def test_asked_twice_a_version_is_left_once(live: Deployment, settings: Settings) -> None:
    first, second = live.versions[:2]
    done = leave(live, settings, second)
    assert (done.data["way"], done.data["live"], done.data["changed"]) == (Way.SWITCH, first, True)
    again = leave(live, settings, second)
    assert (again.data["way"], again.data["live"], again.data["changed"]) == (Way.NOTHING, first, False)
    assert set(live.owners().values()) == {Color.BLUE}


def test_a_candidate_is_taken_back_and_what_is_live_is_not_left_meanwhile(
    live: Deployment, settings: Settings
) -> None:
    second, third = live.versions[1:]
    reach(live, third, Stage.CANARY)
    with pytest.raises(Refused, match=f"was {third} on blue"):
        leave(live, settings, second)
    assert leave(live, settings, third).data["way"] is Way.TAKE_BACK
    assert leave(live, settings, third).data["way"] is Way.NOTHING
    assert set(live.owners().values()) == {Color.GREEN}


def test_with_both_ends_named_the_one_must_be_live_and_the_other_may_serve(
    live: Deployment, settings: Settings
) -> None:
    first, second, third = live.versions
    with pytest.raises(Refused, match=f"expected {first} to be live, was {second}"):
        leave(live, settings, first, to_version=third)
    with pytest.raises(Refused, match="another version"):
        leave(live, settings, second, to_version=second)
    with pytest.raises(NotFound):
        leave(live, settings, second, to_version="v9.9.9")
    live.registry.set_status(MODEL, third, ModelStatus.FAILED, reason="wrong on Mondays", actor="anna")
    with pytest.raises(Refused, match="wrong on Mondays"):
        leave(live, settings, second, to_version=third)
    live.registry.set_status(MODEL, first, ModelStatus.FAILED, reason="late", actor="anna")
    with pytest.raises(Refused, match="late"):
        leave(live, settings, second)
    assert set(live.owners().values()) == {Color.GREEN}


def test_a_switch_that_was_begun_is_waited_for(live: Deployment, settings: Settings) -> None:
    second, third = live.versions[1:]
    with pytest.raises(Unreachable):
        leave(live, settings, second, to_version=third)
    back = way_back(
        live.records, live.registry, MODEL, version=second, to_version=third, now=live.clock.now()
    )
    assert back.way is Way.WAIT
    live.run()
    done = leave(live, settings, second, to_version=third)
    assert (done.data["way"], done.data["live"]) == (Way.NOTHING, third)


def test_an_unknown_version_is_told_and_a_dry_run_changes_nothing(
    live: Deployment, settings: Settings
) -> None:
    with pytest.raises(NotFound):
        leave(live, settings, "v9.9.9")
    assert leave(live, settings, live.versions[1], dry_run=True).text.startswith("dry run: all traffic")
    assert set(live.owners().values()) == {Color.GREEN}


def test_what_was_left_is_drained_and_stopped_by_the_controller(live: Deployment, settings: Settings) -> None:
    first, second = live.versions[:2]
    for verb in (lambda: stop(live, second), lambda: _drain(live, settings, second)):
        with pytest.raises(Refused, match="which is live"):
            verb()
    leave(live, settings, second)
    assert _drain(live, settings, second).data["color"] is Color.GREEN
    live.controller.tick()
    with pytest.raises(Unreachable, match="the controller goes on"):
        stop(live, second)
    live.clock.move(10)
    live.controller.tick()
    assert stop(live, second).text == f"nothing runs of {second}"
    assert live.target.running == {Color.BLUE: first}
    assert _drain(live, settings, second).text == f"nothing runs of {second}"


def test_without_a_controller_nothing_is_stopped_and_that_is_said(
    live: Deployment, settings: Settings
) -> None:
    leave(live, settings, live.versions[1])
    live.clock.move(3600)
    with pytest.raises(Unreachable, match="controller"):
        stop(live, live.versions[1])


def test_agreement_names_what_is_pending_in_traffic_state_and_registry(
    live: Deployment, settings: Settings
) -> None:
    first, second = live.versions[:2]
    live.controller.tick()
    assert agreement(live, settings, live=second).exit_code is ExitCode.DONE
    assert agreement(live, settings, live=first).data["pending"] == (
        f"state: expected {first} live, was {second}",
    )
    leave(live, settings, second, converge=False)
    assert any("champion does not point at" in told for told in agreement(live, settings).data["pending"])
    assert agreement(live, settings, converge=True, live=first).exit_code is ExitCode.DONE
    live.target.running[Color.BLUE] = second
    assert any("blue does not serve" in told for told in agreement(live, settings).data["pending"])
    with pytest.raises(ConfigurationError):
        agreement(live, settings, live="")


def test_a_rollout_that_is_named_is_begun_once(live: Deployment, settings: Settings) -> None:
    def named() -> command.Result:
        return deploy(
            version=live.versions[2],
            wait=False,
            rollout_id="mine",
            settings=settings,
            records=live.records,
            registry=live.registry,
            target=live.target,
            clock=live.clock,
        )

    assert named().data == named().data == {"rollout": "mine", "version": live.versions[2]}


def _drain(live: Deployment, settings: Settings, version: str) -> command.Result:
    return drain(version=version, settings=settings, records=live.records, clock=live.clock)
