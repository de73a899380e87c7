"""What the sign-off forms of `deployment_pipeline` ask for and record, given what Airflow gives them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from autotrader.access.sign_off import SignOffState, sign_off_state
from autotrader.config.settings import Environment, Settings
from autotrader.domain.errors import Refused, Unreachable
from autotrader.pipelines import deployment_steps
from autotrader.pipelines.deployment_steps import await_verdict, record_sign_off, sign_off_needed
from autotrader.ports.registry import ModelVersion
from tests.fakes.approvals import InMemoryApprovals
from tests.fakes.registry import InMemoryRegistry
from tests.models import TAGS, candidate
from tests.unit.deployment.doubles import MODEL, MovedClock

PRODUCTION = Settings(_env_file=None, home=Path("unused")).model_copy(
    update={"environment": Environment.PRODUCTION}
)


class Desk:
    """One version, and a run of the pipeline that asks for its sign-offs."""

    def __init__(self, folder: Path) -> None:
        self.clock = MovedClock()
        self.approvals = InMemoryApprovals()
        self.registry = InMemoryRegistry(self.approvals.events)
        self._folder = folder
        self.version = self.register("first")
        self.asked_at = self.clock.now().isoformat()

    def register(self, key: str) -> ModelVersion:
        given = candidate(self._folder, key, key, tags={**TAGS, "gate_report_sha256": "ab" * 32})
        return self.registry.register(given, actor="test")

    def needed(
        self, role: str, *, version: str = "latest", settings: Settings = PRODUCTION
    ) -> dict[str, Any]:
        return sign_off_needed(
            model_version=version,
            role=role,
            requested_by="airflow:otto",
            asked_at=self.asked_at,
            settings=settings,
            registry=self.registry,
            approvals=self.approvals,
            clock=self.clock,
        )

    def answer(self, user: str, role: str, decision: str = "approve") -> dict[str, Any]:
        return record_sign_off(
            model_version=self.version.semver,
            role=role,
            decision=decision,
            reason="as the gate report says",
            user=user,
            settings=PRODUCTION,
            registry=self.registry,
            approvals=self.approvals,
            clock=self.clock,
        )

    def state(self) -> SignOffState:
        return sign_off_state(self.approvals, self.version, now=self.clock.now()).state


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_outside_of_production_nobody_signs(desk: Desk) -> None:
    needed = desk.needed("quant", settings=Settings(_env_file=None, home=Path("unused")))
    assert needed == {"needed": False, "version": None, "reason": "dev asks for no sign-off"}
    assert desk.approvals.requests(MODEL) == []


def test_the_request_is_open_as_soon_as_the_form_waits_so_that_a_command_may_answer_it(desk: Desk) -> None:
    assert desk.needed("quant")["needed"]
    (request,) = desk.approvals.requests(MODEL)
    assert request.submitters == ("airflow:otto",)


def test_the_form_names_the_version_that_is_signed_for(desk: Desk) -> None:
    asked = desk.needed("quant")["version"]
    desk.register("second")
    assert asked == desk.version.semver != desk.needed("quant")["version"]


def test_a_role_that_signed_elsewhere_is_not_asked(desk: Desk) -> None:
    desk.needed("quant")
    desk.answer("quinn", "quant")
    assert [desk.needed(role)["needed"] for role in ("quant", "risk")] == [False, True]
    assert desk.answer("rita", "risk")["state"] == SignOffState.APPROVED
    assert [desk.needed(role)["needed"] for role in ("quant", "risk")] == [False, False]


def test_an_approval_that_came_after_others_had_signed_elsewhere_does_not_fail_the_run(desk: Desk) -> None:
    desk.needed("quant")
    desk.answer("quinn", "quant")
    desk.answer("rita", "risk")
    assert desk.answer("ruth", "risk")["state"] == SignOffState.APPROVED
    assert desk.answer("ruth", "risk", "reject")["state"] == SignOffState.REJECTED
    assert desk.state() is SignOffState.REJECTED


def test_who_asked_for_it_and_who_signed_already_may_not_approve(desk: Desk) -> None:
    desk.needed("quant")
    with pytest.raises(Refused, match="did not ask for it"):
        desk.answer("otto", "quant")
    desk.answer("quinn", "quant")
    with pytest.raises(Refused, match="a different person for Risk"):
        desk.answer("quinn", "risk")


@pytest.mark.parametrize(
    "end", [lambda desk: desk.answer("quinn", "quant", "reject"), lambda desk: desk.clock.move(73 * 3600)]
)
def test_a_form_that_runs_again_after_the_round_came_to_nothing_says_so(
    desk: Desk, end: Callable[[Desk], object]
) -> None:
    desk.needed("quant")
    end(desk)
    with pytest.raises(Refused, match="reject"):
        desk.needed("risk")


def test_a_later_run_asks_anew(desk: Desk) -> None:
    desk.needed("quant")
    desk.answer("quinn", "quant", "reject")
    desk.clock.move(60)
    desk.asked_at = (desk.clock.now() + timedelta(seconds=1)).isoformat()
    assert desk.needed("quant")["needed"]
    assert len(desk.approvals.requests(MODEL)) == 2


@pytest.mark.parametrize(
    ("answers", "seconds", "looks"),
    [
        ([False, Unreachable("no database"), True], 60.0, 3),  # as soon as it is known
        ([False, False], 0.0, 1),  # what is known once the time is over
    ],
)
def test_a_verdict_is_waited_for_through_an_absence_of_the_database(
    answers: list[bool | Exception], seconds: float, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = iter(answers)
    seen: list[dict[str, object]] = []

    def stage_verdict(**asked: object) -> dict[str, object]:
        seen.append(asked)
        answer = next(given)
        if isinstance(answer, Exception):
            raise answer
        return {"is_known": answer}

    monkeypatch.setattr(deployment_steps, "stage_verdict", stage_verdict)
    monkeypatch.setattr(deployment_steps, "VERDICT_POLL_SECONDS", 0.0)
    known = await_verdict(
        rollout="run-1",
        stage="shadow",
        seconds=seconds,
        settings=PRODUCTION,
        records=object(),  # type: ignore[arg-type]
        clock=MovedClock(),
    )
    assert known == {"is_known": looks > 1}
    assert [(asked["rollout"], asked["stage"]) for asked in seen] == [("run-1", "shadow")] * looks


def test_a_database_that_stays_away_past_the_time_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: object) -> dict[str, object]:
        raise Unreachable("no database")

    monkeypatch.setattr(deployment_steps, "stage_verdict", away)
    with pytest.raises(Unreachable, match="no database"):
        await_verdict(
            rollout="run-1",
            stage="shadow",
            seconds=0.0,
            settings=PRODUCTION,
            records=object(),  # type: ignore[arg-type]
            clock=MovedClock(),
        )
