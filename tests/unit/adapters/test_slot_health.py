"""What a colour is taken to use: what was looked up, else its own word."""

from __future__ import annotations

import httpx
import pytest

from autotrader.adapters.slot_health import ask_health
from autotrader.domain.rollout import Color

SAID = {"color": "blue", "version": "v1.0.0", "live": True, "ready": True, "status": "ready"}


@pytest.mark.parametrize(
    ("said", "looked_up", "memory"),
    [
        ({"memory_bytes": 98_000_000}, None, 98_000_000),
        ({"memory_bytes": 98_000_000}, 120_000_000, 120_000_000),
        ({}, None, None),
    ],
)
def test_its_memory_is_what_was_looked_up_else_what_it_says(
    said: dict[str, int], looked_up: int | None, memory: int | None
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={**SAID, **said}))
    with httpx.Client(transport=transport) as client:
        health = ask_health(client, "http://blue:8000", Color.BLUE, memory_bytes=looked_up)
    assert (health.ready, health.memory_bytes) == (True, memory)


def test_what_answers_and_is_no_prediction_service_is_silent() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=["hello"]))
    with httpx.Client(transport=transport) as client:
        assert not ask_health(client, "http://blue:8000", Color.BLUE).live
