"""Whole chains in a collector: from bar to order, over HTTP into the service, from DAG task to registry."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autotrader import tracing
from autotrader.adapters.prediction_client import PredictionClient
from autotrader.config.settings import Settings
from autotrader.domain.rollout import Color
from autotrader.pipelines import run_step
from autotrader.ports.predictions import PredictionRequest
from autotrader.ports.registry import ModelRegistry
from tests.fakes import mlflow_server
from tests.fakes.otlp_collector import Collected, collecting
from tests.models import candidate
from tests.serving import TOKEN, body, make_release, running
from tests.trading import BTC, ETH, Scores, World, walk

pytestmark = pytest.mark.integration


@pytest.fixture
def collected() -> Iterator[Collected]:
    with collecting() as collector:
        try:
            yield collector
        finally:
            tracing.turn_off()


def test_an_order_belongs_to_the_bar_that_it_was_decided_on(tmp_path: Path, collected: Collected) -> None:
    tracing.turn_on(collected.url, service="trader")
    settings = Settings(_env_file=None, paper={"participation": 1.0})  # type: ignore[arg-type, call-arg]
    world = World(tmp_path, walk((BTC, ETH), 12), settings=settings, predictor=Scores(lambda *_: 0.6))
    world.run(bars=world.live[:2])
    tracing.flush()
    bars = {span.span_id: span for span in collected.spans["bar"]}
    orders = collected.spans["order"]
    assert len(bars) == 2
    assert len(orders) >= 2
    for order in orders:
        assert bars[order.parent_span_id].trace_id == order.trace_id
        assert {a.key for a in order.attributes} == {"order_id", "instrument"}


async def test_a_prediction_is_traced_through_the_service(tmp_path: Path, collected: Collected) -> None:
    tracing.turn_on(collected.url, service="trader")
    asked = body(1)
    request = PredictionRequest(
        request_id="q1",
        instrument=asked["instrument"],
        feature_set=asked["feature_set"],
        ts=(datetime(2024, 3, 1, 12, tzinfo=UTC),),
        rows=(tuple(asked["rows"][0]),),
    )
    on = {"AUTOTRADER_TRACING__ENDPOINT": collected.url}
    with running(make_release(tmp_path), tmp_path / "log", environment=on) as service:
        async with PredictionClient(TOKEN, timeout_seconds=60) as client:
            with tracing.span("bar"):
                answer = await client.ask(Color.BLUE, service.url, request)
        assert answer.status == 200, answer.reason
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0
    tracing.flush()
    bar, ask, predict = (collected.one(name) for name in ("bar", "ask", "predict"))
    assert (ask.parent_span_id, predict.parent_span_id) == (bar.span_id, ask.span_id)
    assert bar.trace_id == ask.trace_id == predict.trace_id
    assert collected.services == {"trader", "serving"}


def register(*, folder: str, run_id: str, registry: ModelRegistry) -> str:
    """A step that writes to the registry."""
    made = candidate(Path(folder), "a-training", run_id)
    return registry.register(made, actor="training").semver


def test_a_write_of_the_registry_belongs_to_the_task_of_the_dag_run(
    tmp_path: Path, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = mlflow_server.StandInMlflow()
    words = {"DAG_ID": "training_pipeline", "DAG_RUN_ID": "manual__1", "TASK_ID": "register_model"}
    for word, value in words.items():
        monkeypatch.setenv(f"AIRFLOW_CTX_{word}", value)
    monkeypatch.setenv("AUTOTRADER_TRACING__ENDPOINT", collected.url)
    monkeypatch.setitem(run_step.STEPS, "tests.register", f"{__name__}:register")
    with mlflow_server.serve(mlflow) as uri:
        monkeypatch.setenv("AUTOTRADER_MLFLOW__TRACKING_URI", uri)
        key = {"folder": str(tmp_path), "run_id": mlflow.make_run()}
        version = run_step.run_step("tests.register", key)
    assert version
    # Sent by the time the step is over: Airflow may end the process without a word.
    step, write = collected.one("step tests.register"), collected.one("registry register")
    assert write.parent_span_id == step.span_id
    assert write.trace_id == step.trace_id
    expected = tracing.traceparent_of("training_pipeline", "manual__1").split("-")
    assert (step.trace_id.hex(), step.parent_span_id.hex()) == (expected[1], expected[2])
    assert {a.key: a.value.string_value for a in step.attributes} == {
        "dag_id": "training_pipeline",
        "run_id": "manual__1",
        "task_id": "register_model",
    }
