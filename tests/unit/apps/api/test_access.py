"""Who may ask for what: reads from here, everything else with a token of the right scope."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autotrader.domain.trading import Cause, ControlKind, TradingState
from autotrader.ports.events import EventType
from autotrader.ports.tokens import Scope
from autotrader.ports.trading import Restriction
from tests.unit.apps.api.conftest import ELSEWHERE, HERE, NOW, World

READS = [
    "/health",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/api/health",
    "/api/health/detailed",
    "/api/health/disk",
    "/api/events",
    "/api/events/summary",
    "/api/alerts",
    "/api/positions",
    "/api/pnl",
    "/api/deployments",
    "/api/orders",
    "/api/fills",
    "/api/trades",
    "/api/signals",
    "/api/risk",
    "/api/risk/controls/none",
    "/jobs",
    "/jobs/none",
]
WRITES = {
    "/api/risk/halt": ControlKind.HALT,
    "/api/risk/resume": ControlKind.RESUME,
    "/api/reconcile": ControlKind.RECONCILE,
}
ASKED = {"reason": "the feed looks wrong"}


async def test_reads_are_open_here_and_want_any_scope_elsewhere(world: World) -> None:
    world.account()
    tokens = [world.token("alice", scope) for scope in Scope]
    for path in READS:
        there = {404} if path.endswith("none") else {200}
        assert (await world.get(path)).status_code in there, path
        answer = await world.get(path, peer=ELSEWHERE)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["expected"] == "an Authorization header with a token"
        for token in tokens:
            headers = {"Authorization": f"Bearer {token}"}
            assert (await world.get(path, peer=ELSEWHERE, headers=headers)).status_code in there, path


def test_every_path_of_the_api_is_in_this_matrix(world: World) -> None:
    paths = set(world.application.openapi()["paths"])
    tried = {path for path in READS if not path.startswith(("/docs", "/openapi"))} | set(WRITES)
    tried.add("/alerts/webhook")  # test_alerts.py
    tried |= {"/jobs/backtest", "/jobs/{job_id}/cancel"}  # test_jobs.py
    assert paths == {
        {"/api/health/disk": "/api/health/{component}"}.get(
            path, path.replace("controls/none", "controls/{control_id}").replace("jobs/none", "jobs/{job_id}")
        )
        for path in tried
    }


async def test_what_a_stranger_makes_this_machine_send_is_no_read_from_here(world: World) -> None:
    for headers in (
        {"X-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Host": "attacker.example"},
        {"Host": "attacker.example:8010"},
        {"Origin": "https://attacker.example"},
        {"Origin": "null"},
    ):
        assert (await world.get("/api/events", headers=headers)).status_code == 401, headers


async def test_names_of_this_machine_are_it(world: World) -> None:
    for headers in ({"Host": "localhost:9"}, {"Origin": "http://127.0.0.1:3000"}):
        assert (await world.get("/api/events", headers=headers)).status_code == 200, headers
    for host in ("::1", "::ffff:127.0.0.1"):
        assert (await world.get("/api/events", peer=(host, 1))).status_code == 200


async def test_a_wrong_token_is_refused_even_where_none_is_needed(world: World) -> None:
    for authorization in ("Bearer wrong", "Bearer ", "Basic YTpi", "atk_0"):
        for peer in (HERE, ELSEWHERE):
            answer = await world.get("/api/events", peer=peer, headers={"Authorization": authorization})
            assert answer.status_code == 401


async def test_an_expired_token_and_a_revoked_one_open_nothing(world: World) -> None:
    token = world.token("alice", Scope.READ, days=1)
    headers = {"Authorization": f"Bearer {token}"}
    assert (await world.get("/api/events", headers=headers)).status_code == 200
    world.clock.advance(timedelta(days=1))
    answer = await world.get("/api/events", headers=headers)
    assert (answer.status_code, answer.json()["expected"]) == (401, "a token in force")
    assert token not in answer.text


@pytest.mark.parametrize(("path", "kind"), WRITES.items())
async def test_writes_want_operate_or_approve_even_here(world: World, path: str, kind: ControlKind) -> None:
    world.account()
    assert (await world.post(path, ASKED)).status_code == 401
    answer = await world.post(path, ASKED, token=world.token("reader", Scope.READ))
    assert (answer.status_code, answer.json()["expected"]) == (403, "the scope operate")
    assert world.records.unanswered("main") == []
    for name, scope in (("olga", Scope.OPERATE), ("anna", Scope.APPROVE)):
        answer = await world.post(path, ASKED, token=world.token(name, scope))
        assert answer.status_code == 202
        kept = world.records.control(answer.json()["id"])
        assert kept is not None
        assert (kept.kind, kept.actor, kept.reason, kept.asked_at) == (kind, name, ASKED["reason"], NOW)
        (event,) = [e for e in world.events.recent(type=EventType.AUDIT) if e.data.get("control") == kept.id]
        assert event.actor == name
        assert ASKED["reason"] in event.message


@pytest.mark.parametrize("cause", [Cause.DAILY_LOSS, Cause.DRAWDOWN])
async def test_only_an_approver_resumes_a_tripped_breaker_and_only_with_a_reason(
    world: World, cause: Cause
) -> None:
    world.account().restrict(Restriction(cause, TradingState.HALTED, "5.01 % in a day", NOW, "trader"))
    answer = await world.post("/api/risk/resume", ASKED, token=world.token("olga", Scope.OPERATE))
    assert answer.status_code == 403
    assert f"the circuit breaker has tripped ({cause.value})" in answer.json()["expected"]
    approver = world.token("anna", Scope.APPROVE)
    for reason in ({}, {"reason": ""}, {"reason": "   "}, {"reason": None}):
        assert (await world.post("/api/risk/resume", reason, token=approver)).status_code == 422
    assert world.records.unanswered("main") == []
    assert (await world.post("/api/risk/resume", ASKED, token=approver)).status_code == 202
    assert [c.actor for c in world.records.unanswered("main")] == ["anna"]


async def test_an_operator_ends_what_an_operator_began(world: World) -> None:
    world.account().restrict(Restriction(Cause.OPERATOR, TradingState.HALTED, "a look", NOW, "olga"))
    answer = await world.post("/api/risk/resume", ASKED, token=world.token("olga", Scope.OPERATE))
    assert answer.status_code == 202


async def test_who_asks_is_the_token_and_never_the_body(world: World) -> None:
    world.account()
    token = world.token("olga", Scope.OPERATE)
    answer = await world.post("/api/risk/halt", ASKED | {"actor": "anna"}, token=token)
    assert answer.status_code == 422
    assert world.records.unanswered("main") == []


async def test_a_request_that_is_sent_again_is_one_request(world: World) -> None:
    world.account()
    token, key = world.token("olga", Scope.OPERATE), {"Idempotency-Key": "k-1"}
    first = await world.post("/api/risk/halt", ASKED, token=token, **key)
    again = await world.post("/api/risk/halt", ASKED, token=token, **key)
    assert first.json() == again.json()
    assert len(world.records.unanswered("main")) == 1
    other = await world.post("/api/risk/halt", {"reason": "another one"}, token=token, **key)
    assert (other.status_code, other.json()["error"]) == (409, "conflict")
    # The key is the caller's own: that of another caller is another request.
    await world.post("/api/risk/halt", ASKED, token=world.token("anna", Scope.APPROVE), **key)
    assert len(world.records.unanswered("main")) == 2


async def test_a_request_can_be_followed(world: World) -> None:
    world.account()
    asked = await world.post("/api/reconcile", ASKED, token=world.token("olga", Scope.OPERATE))
    body = (await world.get(f"/api/risk/controls/{asked.json()['id']}")).json()
    assert (body["kind"], body["answered_at"], body["actor"]) == ("reconcile", None, "olga")
    risk = (await world.get("/api/risk")).json()
    assert [control["id"] for control in risk["waiting"]] == [body["id"]]


async def test_nothing_is_asked_of_an_account_that_no_trader_has_run_for(world: World) -> None:
    answer = await world.post("/api/risk/halt", ASKED, token=world.token("olga", Scope.OPERATE))
    assert answer.status_code == 404
    assert world.events.recent(type=EventType.AUDIT, limit=5)[0].message == "made"
