"""Jobs over HTTP: who may ask, what may be asked for, and what is told."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from autotrader.apps.api.job_keeper import JobKeeper
from autotrader.db.jobs import SqlJobs
from autotrader.domain.errors import Unreachable
from autotrader.ports.events import EventType
from autotrader.ports.tokens import Scope
from tests.unit.apps.api.conftest import World

PATH = "/jobs/backtest"
ASKED = {
    "model_version": "champion",
    "instruments": ["BTCUSDT"],
    "start_date": "2026-02-01",
    "end_date": "2026-02-28",
    "round_trip_cost_bps": 5,
}


@pytest.fixture
def jobs(world: World) -> SqlJobs:
    return SqlJobs(world.engine, tries=1, retry_seconds=0)


@pytest.fixture
def token(world: World) -> str:
    return world.token("olga", Scope.OPERATE)


async def test_what_is_asked_for_is_written_down_audited_and_told(
    world: World, jobs: SqlJobs, token: str
) -> None:
    answer = await world.post(PATH, ASKED, token=token)
    told = answer.json()
    assert (answer.status_code, told["state"], told["asked_by"]) == (202, "asked", "olga")
    assert answer.headers["location"] == f"/jobs/{told['id']}"
    assert jobs.get(told["id"]).params == ASKED
    (event,) = world.events.recent(type=EventType.AUDIT)[:1]
    assert event.message == "olga asked for a backtest"
    shown = (await world.get(f"/jobs/{told['id']}")).json()
    assert [t["run_id"] for t in shown["history"]] == [f"job-{told['id']}-1"]


async def test_only_an_operator_may_ask(world: World) -> None:
    assert (await world.post(PATH, ASKED)).status_code == 401
    assert (await world.post(PATH, ASKED, token=world.token("r", Scope.READ))).status_code == 403
    assert (await world.get("/jobs")).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"model_version": "newest"}, "should match pattern"),
        ({"instruments": []}, "at least 1 item"),
        ({"instruments": ["BTCUSDT", "BTCUSDT"]}, "expected each instrument once"),
        ({"instruments": ["NOSUCH"]}, "expected instruments of"),
        ({"start_date": "2026-03-02", "end_date": "2026-03-01"}, "expected a start_date until 2026-03-01"),
        ({"start_date": "yesterday"}, "valid date"),
        ({"round_trip_cost_bps": -1}, "greater than or equal to 0"),
        ({"strategy": "martingale"}, "expected the strategy autotrader-strategy or buy_and_hold"),
        ({"strategy": "buy_and_hold", "model_version": "v1.0.0"}, "expected no model_version"),
        ({"leverage": 20}, "not permitted"),
        ([], "valid dictionary"),
    ],
    ids=str,
)
async def test_what_cannot_be_done_is_refused_with_what_was_expected(
    world: World, token: str, body: Any, expected: str
) -> None:
    answer = await world.post(PATH, body, token=token)
    assert answer.status_code == 422
    assert expected in answer.json()["expected"]
    assert (await world.get("/jobs")).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "version"),
    [
        ({}, None),
        ({"strategy": "buy_and_hold"}, None),
        ({"strategy": "autotrader-strategy"}, "champion"),
        ({"strategy": "autotrader-strategy", "model_version": "v1.2.0"}, "v1.2.0"),
    ],
    ids=str,
)
async def test_a_strategy_says_which_model_trades(
    world: World, token: str, body: dict[str, str], version: str | None
) -> None:
    told = (await world.post(PATH, body, token=token)).json()
    assert told["params"]["model_version"] == version


async def test_the_same_key_is_the_same_job_and_of_another_body_a_mistake(world: World, token: str) -> None:
    key = {"Idempotency-Key": "today"}
    first = await world.post(PATH, ASKED, token=token, **key)
    world.clock.advance(timedelta(minutes=1))
    again = await world.post(PATH, ASKED, token=token, **key)
    assert again.json() == first.json()
    other = await world.post(PATH, ASKED | {"model_version": "v1.0.0"}, token=token, **key)
    assert (other.status_code, other.json()["was"]) == (409, "one of another: make a new key for each")
    of_another = await world.post(PATH, ASKED, token=world.token("ivan", Scope.OPERATE), **key)
    assert of_another.json()["id"] != first.json()["id"]


async def test_jobs_are_listed_by_state_in_pages(world: World, jobs: SqlJobs, token: str) -> None:
    ids = []
    for _ in range(3):
        ids.append((await world.post(PATH, ASKED, token=token)).json()["id"])
        world.clock.advance(timedelta(minutes=1))
    page = (await world.get("/jobs", limit=2)).json()
    assert [job["id"] for job in page["items"]] == ids[:0:-1]
    assert page["next_offset"] == 2
    rest = (await world.get("/jobs", limit=2, offset=2)).json()
    assert [job["id"] for job in rest["items"]] == ids[:1]
    now = world.clock.now()
    jobs.fail(f"job-{ids[0]}-1", "NotFound: no such version", now, can_retry=False)
    failed = (await world.get("/jobs", state="failed", type="backtest")).json()["items"]
    assert [(job["id"], job["reason"]) for job in failed] == [(ids[0], "NotFound: no such version")]
    assert (await world.get("/jobs", state="lost")).status_code == 422


async def test_a_result_is_told(world: World, jobs: SqlJobs, token: str) -> None:
    job_id = (await world.post(PATH, ASKED, token=token)).json()["id"]
    jobs.begin(f"job-{job_id}-1", world.clock.now())
    jobs.succeed(f"job-{job_id}-1", {"sharpe": 1.5, "trades": 12}, world.clock.now())
    shown = (await world.get(f"/jobs/{job_id}")).json()
    assert (shown["state"], shown["result"]) == ("succeeded", {"sharpe": 1.5, "trades": 12})


async def test_an_operator_cancels_a_job_once(world: World, jobs: SqlJobs, token: str) -> None:
    job_id = (await world.post(PATH, ASKED, token=token)).json()["id"]
    path = f"/jobs/{job_id}/cancel"
    assert (await world.post(path, {})).status_code == 401
    assert (await world.post(path, {}, token=world.token("r", Scope.READ))).status_code == 403
    told = (await world.post(path, {}, token=token)).json()
    assert (told["state"], told["reason"]) == ("cancelled", "cancelled by olga")
    assert (await world.post(path, {}, token=token)).json() == told
    messages = [event.message for event in world.events.recent(type=EventType.AUDIT)]
    assert messages.count(f"olga cancelled the job {job_id}") == 1
    assert (await world.post("/jobs/none/cancel", {}, token=token)).status_code == 404


async def test_what_is_over_is_not_cancelled(world: World, jobs: SqlJobs, token: str) -> None:
    job_id = (await world.post(PATH, ASKED, token=token)).json()["id"]
    jobs.succeed(f"job-{job_id}-1", {}, world.clock.now())
    answer = await world.post(f"/jobs/{job_id}/cancel", {}, token=token)
    assert (answer.status_code, answer.json()["was"]) == (409, f"{job_id}, which succeeded")


async def test_the_keeper_follows_at_once_when_told_and_outlives_an_outage() -> None:
    looks: list[int] = []
    looked = threading.Event()

    def follow() -> None:
        looks.append(1)
        looked.set()
        if len(looks) < 3:
            raise Unreachable("Airflow is away")
        if len(looks) == 3:
            raise RuntimeError("a fault of ours")

    keeper = JobKeeper(follow, period_seconds=60)
    keeper.tell()  # before it began: it looks anyway
    task = asyncio.create_task(keeper.keep())
    for _ in range(5):
        assert await asyncio.to_thread(looked.wait, 60)
        looked.clear()
        keeper.tell()
    assert len(looks) >= 4
    task.cancel()
