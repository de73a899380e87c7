"""What the client makes of what a service does, with a stand-in for the service."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autotrader.adapters.pairs import PairAsker
from autotrader.adapters.prediction_client import PredictionClient
from autotrader.domain.rollout import Color
from autotrader.ports.predictions import PredictionRequest
from tests.fakes.deployment_server import serve
from tests.services import free_port

AT = datetime(2024, 3, 1, 12, tzinfo=UTC)
REQUEST = PredictionRequest(
    request_id="q1",
    instrument="binance:BTCUSDT",
    feature_set="balanced-v1",
    ts=(AT, AT + timedelta(minutes=1)),
    rows=((0.5, 1.0), (0.125, -1.0)),
)
PROBABILITIES = ((0.5, 0.25, 0.25), (0.125, 0.25, 0.625))
TIMEOUT_SECONDS, VERY_SLOW = 1.0, {"delay_seconds": 60}


@pytest.fixture
async def client() -> AsyncIterator[PredictionClient]:
    async with PredictionClient("secret", timeout_seconds=60.0) as client:
        yield client


@pytest.fixture
async def impatient() -> AsyncIterator[PredictionClient]:
    async with PredictionClient("secret", timeout_seconds=TIMEOUT_SECONDS) as client:
        yield client


async def test_a_prediction_comes_with_its_version_and_time(client: PredictionClient, tmp_path: Path) -> None:
    async with serve("blue", tmp_path, token="secret") as endpoint:
        answer = await client.ask(Color.BLUE, endpoint, REQUEST)
    assert (answer.status, answer.version, answer.reason) == (200, "v1.0.0", "")
    assert answer.probabilities == PROBABILITIES
    assert answer.score == 0.5
    assert 0 < answer.seconds < 60


@pytest.mark.parametrize(
    ("behaviour", "status", "reason"),
    [
        ({"token": "another"}, 401, "unauthorised"),
        ({"status": 500}, 500, "was a fault"),
        ({"garbage": "<html>"}, 0, "<html>"),
        ({"garbage": "[1, 2]"}, 0, "expected a prediction"),
        ({"garbage": '{"request_id": "q1"}'}, 0, "expected a prediction"),
        ({"nan": True}, 0, "rows of probabilities"),
    ],
)
async def test_anything_but_a_prediction_is_an_answer_without_one(
    client: PredictionClient, tmp_path: Path, behaviour: dict[str, Any], status: int, reason: str
) -> None:
    async with serve("blue", tmp_path, **behaviour) as endpoint:
        answer = await client.ask(Color.BLUE, endpoint, REQUEST)
    assert answer.status == status
    assert reason in answer.reason
    assert (answer.probabilities, answer.score, answer.version) == (None, None, None)


async def test_what_does_not_answer_in_time_is_given_up(impatient: PredictionClient, tmp_path: Path) -> None:
    async with serve("blue", tmp_path, **VERY_SLOW) as endpoint:
        answer = await impatient.ask(Color.BLUE, endpoint, REQUEST)
    assert (answer.status, answer.probabilities, answer.score, answer.version) == (0, None, None, None)
    assert "in time" in answer.reason
    assert TIMEOUT_SECONDS <= answer.seconds < 30


@pytest.mark.parametrize(
    "wrong",
    [
        {"request_id": "q2"},
        {"color": "green"},
        {"feature_set": "other-v1"},
        {"probabilities": [[0.5, 0.25, 0.25]]},
        {"probabilities": [[0.5, 0.25, 0.25], [0.5, 0.25, 0.35]]},
        {"probabilities": [[0.5, 0.25, 0.25], [1.5, -0.25, -0.25]]},
        {"probabilities": [[0.5, 0.5], [0.5, 0.5]]},
    ],
)
async def test_an_answer_to_something_else_is_none(
    client: PredictionClient, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    right = {
        "request_id": "q1",
        "version": "v1.0.0",
        "color": "blue",
        "feature_set": "balanced-v1",
        "probabilities": PROBABILITIES,
    }
    async with serve("blue", tmp_path / "right", garbage=json.dumps(right)) as endpoint:
        assert (await client.ask(Color.BLUE, endpoint, REQUEST)).status == 200
    async with serve("blue", tmp_path / "wrong", garbage=json.dumps(right | wrong)) as endpoint:
        assert (await client.ask(Color.BLUE, endpoint, REQUEST)).status == 0


async def test_nobody_there_is_an_answer_too(client: PredictionClient) -> None:
    answer = await client.ask(Color.BLUE, f"http://127.0.0.1:{free_port()}", REQUEST)
    assert answer.status == 0
    assert "no answer" in answer.reason


async def test_a_busy_service_says_how_long_to_leave_it_alone(
    client: PredictionClient, tmp_path: Path
) -> None:
    async with serve("blue", tmp_path, status=503) as endpoint:
        answer = await client.ask(Color.BLUE, endpoint, REQUEST)
    assert (answer.status, answer.retry_after_seconds) == (503, 1.0)


async def test_the_other_colour_on_that_port_does_not_answer_for_it(
    client: PredictionClient, tmp_path: Path
) -> None:
    async with serve("green", tmp_path) as endpoint:
        assert (await client.ask(Color.BLUE, endpoint, REQUEST)).status == 421


async def test_a_pair_is_of_both_colours_and_held_against_the_offline_model(
    client: PredictionClient, tmp_path: Path
) -> None:
    def offline(rows: Any) -> Any:
        assert rows == REQUEST.rows
        return [[0.5, 0.25, 0.25], [0.125, 0.26, 0.615]]

    async with serve("blue", tmp_path / "b", status=500) as blue, serve("green", tmp_path / "g") as green:
        asker = PairAsker(client, offline)
        endpoints = {Color.BLUE: blue, Color.GREEN: green}
        replayed = replace(REQUEST, replayed=True)
        pair = await asker.ask(replayed, candidate=Color.GREEN, endpoints=endpoints)
    assert (pair.request_id, pair.instrument, pair.ts) == ("q1", "binance:BTCUSDT", REQUEST.ts[1])
    assert pair.replayed
    assert (pair.stable_status, pair.stable_score) == (500, None)
    assert (pair.candidate_status, pair.candidate_score) == (200, 0.5)
    assert pair.parity_difference == pytest.approx(0.01)


async def test_where_nothing_was_live_the_candidate_is_asked_alone(
    client: PredictionClient, tmp_path: Path
) -> None:
    async with serve("green", tmp_path) as green:
        pair = await PairAsker(client).ask(REQUEST, candidate=Color.GREEN, endpoints={Color.GREEN: green})
    assert (pair.stable_status, pair.stable_seconds, pair.stable_score) == (None, None, None)
    assert (pair.candidate_status, pair.parity_difference) == (200, None)


async def test_a_slow_colour_does_not_slow_the_measured_time_of_the_other(
    impatient: PredictionClient, tmp_path: Path
) -> None:
    async with (
        serve("blue", tmp_path / "b", **VERY_SLOW) as blue,
        serve("green", tmp_path / "g") as green,
    ):
        endpoints = {Color.BLUE: blue, Color.GREEN: green}
        pair = await PairAsker(impatient).ask(REQUEST, candidate=Color.GREEN, endpoints=endpoints)
    assert pair.stable_status == 0
    assert pair.candidate_seconds < TIMEOUT_SECONDS <= (pair.stable_seconds or 0) < 30
