"""Every answer is what the OpenAPI document says, and every refusal has one form and no stack trace."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from autotrader.db.deployment_records import SqlDeploymentRecords
from autotrader.domain.errors import BadData, Unreachable
from autotrader.domain.orders import Side
from autotrader.domain.rollout import Color, RolloutState, Stage
from autotrader.domain.trading import Cause, TradingState
from autotrader.log import configure_logging
from autotrader.ports.deployment import Rollout
from autotrader.ports.events import Event, EventType
from autotrader.ports.tokens import Scope
from autotrader.ports.trading import Restriction
from tests.unit.apps.api.account import BTC, MARKET
from tests.unit.apps.api.conftest import NOW, World
from tests.unit.apps.api.test_access import ASKED, READS, WRITES

FORM = {"error", "expected", "was", "request_id"}


def populate(world: World) -> None:
    """Something in every list, so that no schema is fulfilled by emptiness."""
    account = world.account()
    account.trade(BTC, Side.BUY, "1", "60000", MARKET, fee="1")
    account.trade(BTC, Side.SELL, "1", "60100", MARKET)
    account.trade(BTC, Side.BUY, "0.5", "60100", MARKET)
    account.bar(MARKET, {BTC: "60200"})
    account.restrict(Restriction(Cause.LOSSES, TradingState.REDUCING, "3 losses", NOW, "trader", MARKET))
    world.events.record(
        Event(
            "a", EventType.ALERT, "critical", "an alert", "tests", NOW, str(BTC), {"n": [1, None, {"x": 2.5}]}
        )
    )
    rollout = Rollout(
        id="r1",
        strategy_id=world.settings.strategy.strategy_id,
        version="v1.0.0",
        previous_version=None,
        candidate=Color.BLUE,
        profile="fast",
        state=RolloutState.WORKING,
        stage=next(iter(Stage)),
        stage_outcome=None,
        goal=next(iter(Stage)),
        revision=1,
        requested_by="tests",
        reason="first",
        created_at=NOW,
        stage_since=NOW,
    )
    event = Event("r1", EventType.DEPLOYMENT, "info", "begun", "tests", NOW)
    records = SqlDeploymentRecords(world.engine, world.settings.strategy.strategy_id)
    records.begin(rollout, event)
    records.beat("controller", NOW)


def check(document: dict[str, Any], path: str, method: str, answer: Any) -> None:
    described = document["paths"][path][method]["responses"][str(answer.status_code)]
    schema = described["content"]["application/json"]["schema"]
    validator = jsonschema.Draft202012Validator(schema | {"components": document["components"]})
    validator.validate(answer.json())


def template(path: str) -> str:
    named = {"health/disk": "health/{component}", "controls/none": "controls/{control_id}"}
    named |= {"jobs/none": "jobs/{job_id}"}
    return next((path.replace(one, name) for one, name in named.items() if one in path), path)


async def test_every_answer_is_as_the_openapi_document_says(world: World) -> None:
    populate(world)
    await world.application.state.board.look()
    document = world.application.openapi()
    operator = world.token("olga", Scope.OPERATE)
    asked = await world.post("/jobs/backtest", {}, token=operator)
    check(document, "/jobs/backtest", "post", asked)
    check(document, "/jobs/{job_id}", "get", await world.get(f"/jobs/{asked.json()['id']}"))
    for path in READS:
        if path in ("/docs", "/openapi.json", "/metrics"):
            continue
        answer = await world.get(path)
        check(document, template(path), "get", answer)
        if "items" in (body := answer.json()):
            assert body["items"], path
    token = world.token("anna", Scope.APPROVE)
    for path in WRITES:
        answer = await world.post(path, ASKED, token=token)
        assert answer.status_code == 202
        check(document, path, "post", answer)
        check(document, path, "post", await world.post(path, {}, token=token))
        check(document, path, "post", await world.post(path, ASKED))
    control = (await world.get("/api/risk")).json()["waiting"][0]["id"]
    followed = await world.get(f"/api/risk/controls/{control}")
    assert followed.status_code == 200
    check(document, "/api/risk/controls/{control_id}", "get", followed)


async def test_every_error_of_the_document_has_the_one_form(world: World) -> None:
    for path, methods in world.application.openapi()["paths"].items():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if status >= "400" and (path, status) != ("/health", "503"):
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorBody"}, (path, status)


async def test_wrong_parameters_say_what_was_expected(world: World) -> None:
    world.account()
    for path, query, expected in (
        ("/api/events", {"limit": "0"}, "limit: Input should be greater than or equal to 1"),
        ("/api/events", {"limit": "1001"}, "limit: Input should be less than or equal to 1000"),
        ("/api/events", {"offset": "-1"}, "offset: Input should be greater than or equal to 0"),
        ("/api/events", {"type": "X"}, "type: Input should be 'DATA', "),
        ("/api/events", {"severity": "bad"}, "severity: Input should be 'info', 'warning' or 'critical'"),
        ("/api/events", {"start": "yesterday"}, "start: Input should be a valid datetime"),
        ("/api/events", {"start": "2024-03-01T00:00:00"}, "start: Input should have timezone info"),
        ("/api/events", {"since": "2024"}, "since: Extra inputs are not permitted"),
        ("/api/signals", {"instrument": "BTCUSDT"}, "instrument: expected venue:symbol"),
        ("/api/orders", {"account": "../x"}, "account: String should match pattern"),
        ("/api/pnl", {"points": "1"}, "points: Input should be greater than or equal to 2"),
        ("/api/health/else", {}, "component: Input should be 'database'"),
    ):
        answer = await world.get(path, **query)
        assert answer.status_code == 422, (path, query)
        body = answer.json()
        assert set(body) == FORM
        assert body["error"] == "wrong parameters"
        assert body["expected"].startswith(expected), body["expected"]


async def test_a_body_that_is_none_is_told_so(world: World) -> None:
    token = world.token("olga", Scope.OPERATE)
    async with world.client(headers={"Authorization": f"Bearer {token}"}) as client:
        for content in (b"", b"{", b"[1]", b"\xff", b'{"reason": 7}'):
            answer = await client.post(
                "/api/risk/halt", content=content, headers={"Content-Type": "application/json"}
            )
            assert (answer.status_code, set(answer.json())) == (422, FORM), content
        answer = await client.post("/api/risk/halt", content=b"x" * 20_000)
        assert (answer.status_code, answer.json()["expected"]) == (413, "a body of at most 16384 bytes")


async def test_unknown_paths_and_methods_are_answered_in_the_same_form(world: World) -> None:
    answer = await world.get("/api/else")
    assert (answer.status_code, answer.json()["expected"]) == (404, "a path that /docs lists")
    answer = await world.post("/api/events", {})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert set(answer.json()) == FORM


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unreachable("expected the database at sqlite to answer, was: locked"), 503),
        (BadData("expected a number, was 'x'"), 500),
        (ZeroDivisionError("a secret detail"), 500),
        (sa.exc.ProgrammingError("SELECT secret", {}, Exception("no such table")), 500),
    ],
)
async def test_a_fault_of_ours_is_a_number_in_the_log_and_no_stack_trace(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(world.events, "recent", fail)
    with capture_logs() as logged:
        answer = await world.get("/api/events", headers={"X-Request-ID": "mine-1"})
    assert [line["exc_info"] for line in logged if line["log_level"] == "error"] == [error]
    body = answer.json()
    assert (answer.status_code, set(body), body["request_id"]) == (status, FORM, "mine-1")
    for trace in ("Traceback", "secret", ".py", "Error"):
        assert trace not in answer.text
    if status == 503:
        assert (body["expected"], body["was"]) == ("the database at sqlite to answer", "locked")
        assert answer.headers["retry-after"] == "1"


async def test_each_answer_carries_a_request_id_of_its_own_or_the_callers(world: World) -> None:
    first, second = [(await world.get("/health")).headers["x-request-id"] for _ in range(2)]
    assert len(first) == 32
    assert first != second
    given = await world.get("/health", headers={"X-Request-ID": "a.b-c_1"})
    assert given.headers["x-request-id"] == "a.b-c_1"
    for harmful in ("a\tb", "x" * 65, '"', ""):
        answer = await world.get("/health", headers={"X-Request-ID": harmful})
        assert len(answer.headers["x-request-id"]) == 32
    refused = await world.get("/api/else", headers={"X-Request-ID": "r"})
    assert refused.headers["x-request-id"] == refused.json()["request_id"] == "r"


async def test_metrics_name_routes_and_never_what_a_caller_made_up(world: World) -> None:
    world.account()
    for k in range(3):
        await world.get(f"/api/{k}")
        await world.get(f"/api/risk/controls/{k}")
    await world.get("/api/health/disk")
    async with world.client() as client:
        await client.request("BREW", "/api/positions")
    page = (await world.get("/metrics")).text
    counted = {
        (sample.labels["method"], sample.labels["endpoint"], sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "http_requests_total"
    }
    assert counted == {
        ("GET", "other", "404"): 3,
        ("GET", "/api/risk/controls/{control_id}", "404"): 3,
        ("GET", "/api/health/{component}", "200"): 1,
        ("other", "/api/positions", "405"): 1,
    }
    names = {family.name for family in text_string_to_metric_families(page)}
    assert {"http_request_duration_seconds", "http_requests_in_progress", "process_open_fds"} <= names


async def test_the_page_of_all_paths_needs_nothing_from_elsewhere(world: World) -> None:
    answer = await world.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    for path in world.application.openapi()["paths"]:
        assert path in answer.text
    for outside in ("http://", "https://", "src=", "@import", "<script", "<link"):
        assert outside not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.usefixtures("logging_as_before")
async def test_no_token_is_in_the_log(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", form="json")
    token = world.token("olga", Scope.OPERATE)
    await world.post("/api/risk/halt", ASKED, token=token)
    await world.get("/api/events", headers={"Authorization": f"Bearer {token}x"})
    logged = "".join(capsys.readouterr())
    assert logged.count("/api/risk/halt") == logged.count("/api/events") == 1
    assert token.split("_", 2)[2] not in logged
