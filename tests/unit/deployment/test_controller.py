"""A rollout from its first check until traffic is where it should be, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

import pytest

from autotrader.deployment import requests
from autotrader.deployment.controller import StageResult
from autotrader.deployment.projection import EVERY_SECONDS
from autotrader.domain.errors import AutotraderError, BadData, ConfigurationError, Refused, Unreachable
from autotrader.domain.rollout import FAST, STANDARD, Color, Outcome, RolloutState, Stage
from autotrader.ports.deployment import Pair, Rollout
from autotrader.ports.events import Event
from autotrader.ports.registry import Alias, ModelStatus
from tests.unit.deployment.doubles import INSTRUMENTS, MODEL, PASSED, STRATEGY, Deployment

BAD = StageResult(Outcome.FAIL, "3 of 100 requests failed", {"errors": 3})
UNSURE = StageResult(Outcome.INCONCLUSIVE, "no request was answered")


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


@pytest.fixture
def live(deployment: Deployment) -> Deployment:
    """With the first version live on blue."""
    begin(deployment, deployment.versions[0])
    deployment.run()
    return deployment


def begin(
    deployment: Deployment, version: str, *, goal: Stage = Stage.FINALIZE, profile=FAST, rollout_id=None
) -> Rollout:
    return requests.begin(
        deployment.records,
        strategy_id=MODEL,
        version=version,
        profile=profile,
        goal=goal,
        reason="test",
        actor="tester",
        now=deployment.clock.now(),
        rollout_id=rollout_id,
    )


def reach(deployment: Deployment, version: str, stage: Stage) -> Rollout:
    """A rollout that is at work in this stage."""
    rollout = begin(deployment, version, goal=stage)
    for _ in range(200):
        deployment.controller.tick()
        now = deployment.records.find(rollout.id)
        if now.stage is stage:
            return now
        deployment.clock.move(1)
    raise AssertionError(f"never reached {stage}: {deployment.records.find(rollout.id)}")


def alias(deployment: Deployment, name: Alias) -> str | None:
    held = [v.semver for v in deployment.registry.list(MODEL) if name in v.aliases]
    return held[0] if held else None


def status(deployment: Deployment, version: str) -> ModelStatus:
    return deployment.registry.get(MODEL, version).status


def test_the_first_version_goes_live_on_every_instrument(live: Deployment) -> None:
    version = live.versions[0]
    assert live.owners() == dict.fromkeys(INSTRUMENTS, Color.BLUE)
    assert (alias(live, Alias.CHAMPION), alias(live, Alias.CHALLENGER)) == (version, None)
    assert status(live, version) is ModelStatus.PRODUCTION


def test_the_next_version_takes_over_on_the_other_colour_and_the_first_is_kept_warm(live: Deployment) -> None:
    first, second, _ = live.versions
    rollout = begin(live, second)
    live.run()
    assert live.records.find(rollout.id).state is RolloutState.COMPLETED
    assert live.owners() == dict.fromkeys(INSTRUMENTS, Color.GREEN)
    assert (alias(live, Alias.CHAMPION), alias(live, Alias.PREVIOUS)) == (second, first)
    assert (status(live, first), status(live, second)) == (ModelStatus.ARCHIVED, ModelStatus.PRODUCTION)
    assert live.target.running == {Color.BLUE: first, Color.GREEN: second}
    live.clock.move(timedelta(hours=24).total_seconds())
    live.controller.tick()
    assert live.target.running == {Color.GREEN: second}


def test_each_stage_takes_on_its_share_and_none_loses_an_instrument(live: Deployment) -> None:
    seen: dict[Stage, int] = {}
    rollout = begin(live, live.versions[1])
    for _ in range(200):
        live.controller.tick()
        now = live.records.find(rollout.id)
        if now.state.is_over:
            break
        seen[now.stage] = sum(color is Color.GREEN for color in live.owners().values())
        live.clock.move(1)
    assert seen == {
        Stage.PRE_DEPLOY_CHECKS: 0,
        Stage.DEPLOY_GREEN: 0,
        Stage.INTEGRATION_TESTS: 0,
        Stage.SHADOW: 0,
        Stage.CANARY: 2,  # a quarter of six is two, too: that stage adds none and is skipped
        Stage.HALF: 3,
        Stage.FULL: 6,
        Stage.FINALIZE: 6,
    }
    assert requests.verdict(live.records, rollout.id, Stage.QUARTER, STRATEGY).outcome is Outcome.PASS


@pytest.mark.parametrize("stage", [Stage.SHADOW, Stage.CANARY, Stage.HALF, Stage.FULL])
def test_a_watch_that_fails_takes_all_traffic_back_at_once(live: Deployment, stage: Stage) -> None:
    first, second, _ = live.versions
    rollout = reach(live, second, stage)
    live.watch.sees = BAD
    live.clock.move(1)
    live.controller.tick()
    assert live.owners() == dict.fromkeys(INSTRUMENTS, Color.BLUE)
    live.run()
    over = live.records.find(rollout.id)
    assert (over.state, over.reason, over.is_faulty) == (RolloutState.ROLLED_BACK, BAD.reason, True)
    assert live.target.running == {Color.BLUE: first}
    assert (alias(live, Alias.CHAMPION), alias(live, Alias.CHALLENGER)) == (first, None)
    assert (status(live, first), status(live, second)) == (ModelStatus.PRODUCTION, ModelStatus.FAILED)
    assert live.records.stages(rollout.id)[-1].evidence == {"errors": 3}
    told = [e for e in live.events.recent(limit=100) if e.severity == "critical"]
    assert [BAD.reason in e.message for e in told] == [True]


@pytest.mark.parametrize("stage", ["checks", "up", "tests"])
def test_work_that_fails_before_traffic_leaves_everything_as_it_was(live: Deployment, stage: str) -> None:
    setattr(live.work, stage, BAD)
    rollout = begin(live, live.versions[1])
    live.run()
    assert live.records.find(rollout.id).state is RolloutState.ROLLED_BACK
    assert live.owners() == dict.fromkeys(INSTRUMENTS, Color.BLUE)
    assert live.target.running == {Color.BLUE: live.versions[0]}
    assert alias(live, Alias.CHAMPION) == live.versions[0]


def test_no_data_pauses_for_a_person_and_never_passes(live: Deployment) -> None:
    rollout = reach(live, live.versions[1], Stage.CANARY)
    live.watch.sees = UNSURE
    live.run(ticks=60)
    paused = live.records.find(rollout.id)
    assert (paused.state, paused.stage) == (RolloutState.PAUSED, Stage.CANARY)
    assert live.owners()[INSTRUMENTS[0]] is Color.GREEN  # still supervised
    live.watch.sees = PASSED
    live.run(ticks=60)
    assert live.records.find(rollout.id).state is RolloutState.PAUSED
    requests.send_on(live.records, "the feed was down", actor="anna", now=live.clock.now())
    requests.go_to(live.records, rollout.id, Stage.FINALIZE, actor="anna", now=live.clock.now())
    live.run()
    assert live.records.find(rollout.id).state is RolloutState.COMPLETED


def test_a_paused_rollout_that_nobody_decides_on_is_taken_back_by_any_controller(live: Deployment) -> None:
    rollout = reach(live, live.versions[1], Stage.CANARY)
    live.watch.sees = UNSURE
    live.run(ticks=60)
    assert live.records.find(rollout.id).state is RolloutState.PAUSED
    live.run(ticks=28, seconds=60)
    requests.go_to(live.records, rollout.id, Stage.FULL, actor="t", now=live.clock.now())
    live.restart()
    live.run(ticks=28, seconds=60)
    assert live.records.find(rollout.id).state is RolloutState.PAUSED
    live.run(ticks=10, seconds=60)
    over = live.records.find(rollout.id)
    assert (over.state, over.is_faulty) == (RolloutState.ROLLED_BACK, False)
    assert over.reason == "nobody decided on canary within 1 h"
    assert live.owners() == dict.fromkeys(INSTRUMENTS, Color.BLUE)
    assert status(live, live.versions[1]) is ModelStatus.CANDIDATE


def test_a_paused_rollout_is_still_taken_back_when_it_turns_bad(live: Deployment) -> None:
    rollout = reach(live, live.versions[1], Stage.CANARY)
    live.watch.sees = UNSURE
    live.run(ticks=60)
    live.watch.sees = BAD
    live.run(ticks=60)
    assert live.records.find(rollout.id).state is RolloutState.ROLLED_BACK


def test_a_stage_that_nobody_continues_is_watched_and_then_taken_back(live: Deployment) -> None:
    rollout = reach(live, live.versions[1], Stage.CANARY)
    live.run(ticks=30)
    assert live.records.find(rollout.id).stage_outcome is Outcome.PASS
    looks = live.watch.looks
    live.run(ticks=30)
    assert live.watch.looks > looks
    live.run(ticks=80, seconds=60)
    over = live.records.find(rollout.id)
    assert (over.state, over.is_faulty) == (RolloutState.ROLLED_BACK, False)
    assert "nobody asked for 50_percent" in over.reason
    assert status(live, live.versions[1]) is ModelStatus.CANDIDATE


def test_without_a_controller_callers_go_back_and_the_next_one_takes_the_rollout_back(
    live: Deployment,
) -> None:
    rollout = reach(live, live.versions[1], Stage.FULL)
    assert set(live.owners().values()) == {Color.GREEN}
    live.clock.move(live.settings.supervision_seconds)
    assert live.owners() == dict.fromkeys(INSTRUMENTS, Color.BLUE)
    live.restart()
    live.run()
    over = live.records.find(rollout.id)
    assert over.state is RolloutState.ROLLED_BACK
    assert "supervision lapsed" in over.reason


def test_a_controller_that_comes_back_in_time_goes_on(live: Deployment) -> None:
    rollout = reach(live, live.versions[1], Stage.CANARY)
    live.clock.move(live.settings.supervision_seconds - 2)
    live.restart()
    live.controller.tick()
    assert live.records.find(rollout.id).state is RolloutState.WORKING


def test_the_first_version_that_fails_leaves_nobody_to_answer(deployment: Deployment) -> None:
    reach(deployment, deployment.versions[0], Stage.CANARY)
    deployment.watch.sees = BAD
    deployment.clock.move(1)
    deployment.controller.tick()
    assert set(deployment.owners().values()) == {None}


def test_the_next_first_version_takes_on_what_the_one_that_failed_left_behind(deployment: Deployment) -> None:
    failed, second, _ = deployment.versions
    reach(deployment, failed, Stage.CANARY)
    deployment.watch.sees = BAD
    deployment.run()
    deployment.watch.sees = PASSED
    reach(deployment, second, Stage.CANARY)
    canaries = {f"binance:{symbol}" for symbol in STRATEGY.canaries}
    owned = {instrument for instrument, color in deployment.owners().items() if color is Color.BLUE}
    assert owned == canaries


def test_a_second_rollout_is_refused_with_what_is_under_way(live: Deployment) -> None:
    begin(live, live.versions[1])
    with pytest.raises(Refused, match=live.versions[1]):
        begin(live, live.versions[2])


def test_a_live_version_is_not_rolled_out_again(live: Deployment) -> None:
    with pytest.raises(Refused, match="live already"):
        begin(live, live.versions[0])


def test_the_same_request_finds_the_rollout_that_it_began(live: Deployment) -> None:
    first = begin(live, live.versions[1], rollout_id="run-1")
    assert begin(live, live.versions[1], rollout_id="run-1").id == first.id


def test_an_operator_takes_a_rollout_back_without_a_controller(live: Deployment) -> None:
    reach(live, live.versions[1], Stage.FULL)
    taken = requests.take_back(live.records, "looks odd", actor="anna", now=live.clock.now)
    assert taken is not None
    assert live.owners() == dict.fromkeys(INSTRUMENTS, Color.BLUE)
    live.run()
    assert live.records.find(taken.id).state is RolloutState.ROLLED_BACK


def test_work_that_cannot_reach_something_waits_and_then_gives_up(live: Deployment) -> None:
    live.work.checks = Unreachable("expected MLflow to answer, was silent")
    rollout = begin(live, live.versions[1])
    live.run(ticks=10)
    assert live.records.find(rollout.id).state is RolloutState.WORKING
    live.work.checks = PASSED
    live.run(ticks=2)
    assert live.records.find(rollout.id).stage.number > Stage.PRE_DEPLOY_CHECKS.number
    live.work.up = Unreachable("expected MLflow to answer, was silent")
    live.run(ticks=400)
    over = live.records.find(rollout.id)
    assert over.state is RolloutState.ROLLED_BACK
    assert "for 300 s" in over.reason


def test_an_outage_counts_for_its_own_rollout_and_stage(live: Deployment) -> None:
    live.work.checks = Unreachable("expected MLflow to answer, was silent")
    first = begin(live, live.versions[1])
    live.controller.tick()
    requests.take_back(live.records, "never mind", actor="t", now=live.clock.now)
    live.run()
    assert live.records.find(first.id).state is RolloutState.ROLLED_BACK
    live.clock.move(live.settings.ready_seconds + 1)
    second = begin(live, live.versions[1])
    live.controller.tick()
    assert live.records.find(second.id).state is RolloutState.WORKING
    live.work.checks, live.work.up = PASSED, live.work.checks
    live.run(ticks=10)
    assert live.records.find(second.id).stage is Stage.DEPLOY_GREEN
    live.clock.move(live.settings.ready_seconds + 1)
    live.controller.tick()
    assert live.records.find(second.id).state is RolloutState.ROLLING_BACK


def test_waiting_for_people_is_no_outage(live: Deployment) -> None:
    """One that lasted a moment is over once the work was done, though it came to nothing yet."""
    rollout = begin(live, live.versions[1])
    for said in (Unreachable("silent"), None, Unreachable("silent")):
        live.work.checks = said
        live.controller.tick()
        live.clock.move(live.settings.ready_seconds + 1)
    assert live.records.find(rollout.id).state is RolloutState.WORKING


def test_bad_data_ends_the_stage_with_its_reason(live: Deployment) -> None:
    live.work.checks = BadData("expected a digest of abc, was def")
    rollout = begin(live, live.versions[1])
    live.run()
    assert live.records.find(rollout.id).reason == "expected a digest of abc, was def"


@pytest.mark.parametrize("error", [BadData("no digest"), ConfigurationError("no credentials")])
def test_what_went_wrong_around_a_candidate_leaves_it_a_candidate(
    live: Deployment, error: AutotraderError
) -> None:
    live.work.up = error
    rollout = begin(live, live.versions[1])
    live.run()
    over = live.records.find(rollout.id)
    assert (over.state, over.is_faulty) == (RolloutState.ROLLED_BACK, False)
    assert status(live, live.versions[1]) is ModelStatus.CANDIDATE


@pytest.mark.parametrize("stage", [Stage.PRE_DEPLOY_CHECKS, Stage.CANARY])
def test_a_candidate_that_failed_stays_so_until_somebody_says_otherwise(
    live: Deployment, stage: Stage
) -> None:
    version = live.versions[1]
    if stage is Stage.CANARY:
        reach(live, version, stage)
        live.watch.sees = BAD
    else:
        live.work.checks = BAD
        begin(live, version)
    live.run()
    assert status(live, version) is ModelStatus.FAILED
    live.registry.set_status(MODEL, version, ModelStatus.CANDIDATE, reason="the feed", actor="anna")
    live.clock.move(10)
    live.controller.tick()
    assert (status(live, version), live.projection.pending) == (ModelStatus.CANDIDATE, ())
    live.watch.sees = live.work.checks = PASSED
    begin(live, version)
    live.run()
    assert alias(live, Alias.CHAMPION) == version


@pytest.mark.parametrize("stage", [Stage.INTEGRATION_TESTS, Stage.CANARY, Stage.FULL])
def test_a_candidate_that_is_marked_failed_meanwhile_goes_no_further(live: Deployment, stage: Stage) -> None:
    first, second, _ = live.versions
    rollout = reach(live, second, stage)
    live.registry.set_status(MODEL, second, ModelStatus.FAILED, reason="wrong on Mondays", actor="anna")
    requests.go_to(live.records, rollout.id, Stage.FINALIZE, actor="t", now=live.clock.now())
    live.run()
    over = live.records.find(rollout.id)
    assert (over.state, over.stage, over.is_faulty) == (RolloutState.ROLLED_BACK, stage, False)
    assert "wrong on Mondays" in over.reason
    assert live.owners() == dict.fromkeys(INSTRUMENTS, Color.BLUE)
    assert (alias(live, Alias.CHAMPION), status(live, second)) == (first, ModelStatus.FAILED)


def test_a_candidate_that_is_marked_failed_at_the_last_moment_is_not_finalised(live: Deployment) -> None:
    second = live.versions[1]
    rollout = begin(live, second)
    while live.records.find(rollout.id).stage is not Stage.FINALIZE:
        live.controller.tick()
        live.clock.move(1)
    live.registry.set_status(MODEL, second, ModelStatus.FAILED, reason="wrong on Mondays", actor="anna")
    live.run()
    assert live.records.find(rollout.id).state is RolloutState.ROLLED_BACK
    assert live.owners() == dict.fromkeys(INSTRUMENTS, Color.BLUE)


def test_a_registry_that_is_down_holds_no_traffic_up(live: Deployment) -> None:
    rollout = reach(live, live.versions[1], Stage.FULL)
    live.registry.reachable = False
    requests.go_to(live.records, rollout.id, Stage.FINALIZE, actor="t", now=live.clock.now())
    live.run()
    assert set(live.owners().values()) == {Color.GREEN}
    assert live.projection.pending
    live.registry.reachable = True
    live.clock.move(10)
    live.controller.tick()
    assert live.projection.pending == ()
    assert alias(live, Alias.CHAMPION) == live.versions[1]


def test_a_registry_that_was_waited_for_long_is_not_asked_again_at_once(
    live: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def hang(_: str, version: str) -> NoReturn:
        asked.append(version)
        live.clock.move(20)
        raise Unreachable("expected MLflow to answer, was silent")

    monkeypatch.setattr(live.registry, "get", hang)
    live.clock.move(EVERY_SECONDS)
    for _ in range(3):
        live.controller.tick()
    assert len(asked) == 1
    live.clock.move(EVERY_SECONDS)
    live.controller.tick()
    assert len(asked) == 2


def test_an_alias_that_was_changed_by_hand_is_put_right(live: Deployment) -> None:
    begin(live, live.versions[1])
    live.run()
    live.registry.set_alias(MODEL, Alias.CHAMPION, live.versions[0], reason="by hand", actor="bob")
    live.clock.move(10)
    live.controller.tick()
    assert alias(live, Alias.CHAMPION) == live.versions[1]


def test_a_challenger_that_waits_for_its_turn_stays(live: Deployment) -> None:
    live.registry.set_alias(MODEL, Alias.CHALLENGER, live.versions[2], reason="passed", actor="training")
    live.clock.move(10)
    live.controller.tick()
    assert alias(live, Alias.CHALLENGER) == live.versions[2]


def test_standard_looks_once_a_minute(live: Deployment) -> None:
    begin(live, live.versions[1], goal=Stage.SHADOW, profile=STANDARD)
    live.run(ticks=10)
    looks = live.watch.looks
    live.run(ticks=600)
    assert live.watch.looks - looks == 10


def test_a_colour_that_died_is_started_again_unless_it_is_on_trial(live: Deployment) -> None:
    first, second, _ = live.versions
    live.target.running.clear()
    live.clock.move(10)
    live.controller.tick()
    assert live.target.running == {Color.BLUE: first}
    reach(live, second, Stage.CANARY)
    live.target.running.clear()
    live.clock.move(10)
    live.controller.tick()
    assert live.target.running == {Color.BLUE: first}


def test_whoever_asks_stage_by_stage_hears_of_each_that_it_passed_or_was_skipped(live: Deployment) -> None:
    rollout = begin(live, live.versions[1], goal=Stage.PRE_DEPLOY_CHECKS)
    heard = []
    for stage in Stage:
        requests.go_to(live.records, rollout.id, stage, actor="a run", now=live.clock.now())
        for _ in range(60):
            verdict = requests.verdict(live.records, rollout.id, stage, STRATEGY)
            if verdict.is_known:
                break
            live.controller.tick()
            live.clock.move(1)
        heard.append((stage, verdict.outcome, verdict.reason.startswith("skipped")))
    assert [outcome for _, outcome, _ in heard] == [Outcome.PASS] * len(Stage)
    assert [stage for stage, _, skipped in heard if skipped] == [Stage.QUARTER]
    assert live.records.find(rollout.id).state is RolloutState.COMPLETED


def test_a_clock_that_jumps_ahead_ends_supervision_and_one_set_back_only_takes_longer(
    live: Deployment,
) -> None:
    rollout = reach(live, live.versions[1], Stage.CANARY)
    live.clock.ahead -= 3600
    live.run(ticks=20)
    assert live.records.find(rollout.id).state is RolloutState.WORKING
    live.clock.ahead += 2 * 3600
    assert set(live.owners().values()) == {Color.BLUE}
    live.run()
    assert live.records.find(rollout.id).state is RolloutState.ROLLED_BACK


def test_a_database_that_is_down_decides_nothing(live: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout = reach(live, live.versions[1], Stage.CANARY)

    def down() -> None:
        raise Unreachable("expected the database to answer, was silent")

    with monkeypatch.context() as broken:
        broken.setattr(live.records, "active", down)
        with pytest.raises(Unreachable):
            live.controller.tick()
    assert live.records.find(rollout.id).state is RolloutState.WORKING
    live.clock.move(live.settings.supervision_seconds + 1)
    assert set(live.owners().values()) == {Color.BLUE}


def test_a_watch_that_cannot_look_pauses_and_never_passes(live: Deployment) -> None:
    rollout = reach(live, live.versions[1], Stage.CANARY)
    live.watch.sees = BadData("expected features of the last day, was none")
    live.run(ticks=60)
    paused = live.records.find(rollout.id)
    assert paused.state is RolloutState.PAUSED
    assert "nobody could look: expected features" in live.records.stages(rollout.id)[-1].reason


def test_pairs_are_forgotten_long_after_their_rollout_and_verdicts_are_not(live: Deployment) -> None:
    (rollout,) = live.records.recent()
    pair = Pair("q1", INSTRUMENTS[0], live.clock.now(), True, 200, 200, 0.001, 0.001, 0.1, 0.1, 0.0)
    live.records.add_pairs(rollout.id, [pair])
    live.clock.move(timedelta(days=29).total_seconds())
    live.controller.tick()
    assert len(live.records.pairs(rollout.id)) == 1
    live.clock.move(timedelta(days=2).total_seconds())
    live.controller.tick()
    assert live.records.pairs(rollout.id) == []
    assert live.records.stages(rollout.id)


def test_the_front_door_follows_what_is_live_and_not_a_rollout_under_way(live: Deployment) -> None:
    assert live.target.shown is Color.BLUE
    rollout = reach(live, live.versions[1], Stage.FULL)
    assert live.target.shown is Color.BLUE
    live.target.shown = Color.GREEN  # somebody's hand
    live.clock.move(10)
    live.controller.tick()
    assert live.target.shown is Color.BLUE
    assert "were sent to" in by_hand(live)[0].message
    requests.go_to(live.records, rollout.id, Stage.FINALIZE, actor="t", now=live.clock.now())
    live.run()
    assert live.target.shown is Color.GREEN


def test_a_front_door_changed_by_hand_is_told_once_however_long_it_takes_to_put_it_back(
    live: Deployment,
) -> None:
    live.target.shown = Color.GREEN
    live.target.stuck = ConfigurationError("credentials are expired")
    for _ in range(3):
        live.clock.move(10)
        live.controller.tick()
    live.target.stuck = None
    live.clock.move(10)
    live.controller.tick()
    assert live.target.shown is Color.BLUE
    assert len(by_hand(live)) == 1
    live.target.shown = Color.GREEN  # once more
    live.clock.move(10)
    live.controller.tick()
    assert len(by_hand(live)) == 2
    live.restart()
    live.controller.tick()
    assert len(by_hand(live)) == 2


def by_hand(live: Deployment) -> Sequence[Event]:
    return [event for event in live.events.recent() if "by hand" in event.message]


def test_a_colour_that_cannot_be_stopped_holds_no_traffic_up_and_is_pending(live: Deployment) -> None:
    rollout = reach(live, live.versions[1], Stage.CANARY)
    live.target.broken = ConfigurationError("credentials are expired")
    requests.take_back(live.records, "enough", actor="t", now=live.clock.now)
    for _ in range(4):
        live.controller.tick()
        live.clock.move(2)
    assert set(live.owners().values()) == {Color.BLUE}
    assert live.records.find(rollout.id).state is RolloutState.ROLLING_BACK
    heard = live.records.heartbeat("controller")
    assert heard is not None
    assert "green: credentials are expired" in heard[1]["pending"]
    live.target.broken = None
    live.clock.move(10)
    live.run()
    assert live.records.find(rollout.id).state is RolloutState.ROLLED_BACK
    assert Color.GREEN not in live.target.running
