"""Faults of what answers requests: processes, a model, the database, the scheduler, callers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import numpy as np
import onnx
import psycopg
from onnx import TensorProto, helper, numpy_helper

from tests.fakes.airflow_history import AirflowHistory
from tests.models import FEATURES
from tests.monitoring.at_work import AtWork
from tests.monitoring.parts import Part, stop_postgres
from tests.monitoring.watched import Fault, row
from tests.serving import TOKEN, body, described

# Of the matrices that the slow model multiplies: a second here, and too long on a quicker machine, too.
SIZE, ROUNDS = 300, 3_000
FLOOD_CONNECTIONS, FLOOD_BATCH = 8, 20
LOCK_SECONDS = 1.5


@dataclass
class Services:
    """An API on PostgreSQL, and a prediction service whose model is slow."""

    api: Part
    api_url: str
    predictions: Part
    predictions_url: str
    postgres: Part
    database: str
    airflow: AirflowHistory
    at_work: AtWork = field(default_factory=AtWork)
    connections: list[psycopg.Connection] = field(default_factory=list)

    def release(self) -> None:
        """Give back the connections that are held."""
        while self.connections:
            with contextlib.suppress(psycopg.Error):
                self.connections.pop().close()


# ------------------------------------------------------------------------------------- callers


def ask_api(platform: Services) -> Callable[[threading.Event], None]:
    """Somebody who reads events, some times a second."""

    def ask(ended: threading.Event) -> None:
        with httpx.Client(base_url=platform.api_url, trust_env=False, timeout=30) as client:
            while not ended.wait(0.2):
                with contextlib.suppress(httpx.TransportError):
                    client.get("/api/events")

    return ask


def ask_for_predictions(platform: Services) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}

    def ask(ended: threading.Event) -> None:
        with httpx.Client(
            base_url=platform.predictions_url, headers=headers, trust_env=False, timeout=30
        ) as client:
            while not ended.wait(0.5):
                with contextlib.suppress(httpx.TransportError):
                    client.post("/predict", json=body())

    platform.at_work.begin("predictions", ask)


def flood(platform: Services) -> None:
    """Callers who ask as often as they are answered, for what is not there."""
    host, _, port = platform.api_url.removeprefix("http://").partition(":")
    asked = b"GET /nothing HTTP/1.1\r\nHost: flood\r\n\r\n" * FLOOD_BATCH

    async def one(ended: threading.Event) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            while not ended.is_set():
                writer.write(asked)
                answers = 0
                while answers < FLOOD_BATCH and (read := await reader.read(65_536)):
                    answers += read.count(b"HTTP/1.1 404")
        finally:
            writer.close()

    async def all_of_them(ended: threading.Event) -> None:
        await asyncio.gather(*(one(ended) for _ in range(FLOOD_CONNECTIONS)))

    platform.at_work.begin("flood", lambda ended: asyncio.run(all_of_them(ended)))


# ---------------------------------------------------------------------------------- the model


def slow_model() -> bytes:
    """A softmax regression that multiplies large matrices before it answers."""
    weights = np.random.default_rng(7).normal(size=(len(FEATURES), 3)).astype(np.float32)
    again = helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on"], ["goes_on_still"]),
            helper.make_node("MatMul", ["before", "before"], ["after"]),
        ],
        "again",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [SIZE, SIZE]),
        ],
        [
            helper.make_tensor_value_info("goes_on_still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [SIZE, SIZE]),
        ],
    )
    constants = {
        "weights": weights,
        "nothing": np.zeros(1, np.float32),
        "size": np.array([SIZE, SIZE], np.int64),
        "rounds": np.array(ROUNDS, np.int64),
        "yes": np.array(True),
    }
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "weights"], ["scores"]),
            helper.make_node("ReduceSum", ["features"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "nothing"], ["zero"]),
            helper.make_node("Expand", ["zero", "size"], ["zeros"]),
            helper.make_node("Loop", ["rounds", "yes", "zeros"], ["multiplied"], body=again),
            helper.make_node("ReduceSum", ["multiplied"], ["none"], keepdims=0),
            helper.make_node("Add", ["scores", "none"], ["late"]),
            helper.make_node("Softmax", ["late"], ["probabilities"], axis=1),
        ],
        "slow",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(FEATURES)])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10
    )
    return described(model.SerializeToString())


# -------------------------------------------------------------------------------- the database


def hold_connections(share: float) -> Callable[[Services], None]:
    """A program that opens connections and forgets them, until so much of them is taken."""

    def hold(platform: Services) -> None:
        first = psycopg.connect(platform.database, autocommit=True)
        platform.connections.append(first)
        counted = "SELECT count(datname), current_setting('max_connections')::int FROM pg_stat_activity"
        while True:
            taken, most = first.execute(counted).fetchone() or (0, 1)
            if taken >= share * most:
                return
            platform.connections.append(psycopg.connect(platform.database))

    return hold


def lock_tables(platform: Services) -> None:
    """Somebody who changes tables while they are in use, in one transaction after the other."""

    def lock(ended: threading.Event) -> None:
        with psycopg.connect(platform.database, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
            names = ", ".join(f'"{name}"' for (name,) in rows)
            while not ended.wait(0.05):
                with connection.transaction():
                    connection.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
                    time.sleep(LOCK_SECONDS)

    platform.at_work.begin("locks", lock)


def fail_scheduler(platform: Services) -> None:
    platform.airflow.down = True


def mend_scheduler(platform: Services) -> None:
    platform.airflow.down = False


def kill_all(platform: Services) -> None:
    platform.api.kill()
    platform.predictions.kill()


def start_all(platform: Services) -> None:
    platform.api.start()
    platform.predictions.start()


# ---------------------------------------------------------------------------------- all of them

SCHEDULER = Fault[Services](
    "the scheduler is ill",
    fail_scheduler,
    mend_scheduler,
    (row("ComponentUnhealthy", component="scheduler"),),
)
SLOW_MODEL = Fault[Services](
    "a slow version is asked",
    ask_for_predictions,
    lambda platform: platform.at_work.end("predictions"),
    (row("HighLatency", service="prediction-green"),),
)
CONNECTIONS = Fault[Services](
    "connections are forgotten", hold_connections(0.85), Services.release, (row("HighDatabaseConnections"),)
)
EXHAUSTED = Fault[Services](
    "hardly any connection is left",
    hold_connections(0.97),
    Services.release,
    (row("DatabaseConnectionsExhausted"),),
)
LOCKS = Fault[Services](
    "tables are locked",
    lock_tables,
    lambda platform: platform.at_work.end("locks"),
    (row("SlowQueries", service="api"), row("HighAPILatency", service="api")),
)
STOPPED = Fault[Services](
    "PostgreSQL is stopped",
    lambda platform: stop_postgres(platform.database),
    lambda platform: platform.postgres.start(),
    (
        row("PostgresDown"),
        row("HighErrorRate", service="api"),
        row("ErrorBudgetBurn", slo="availability", severity="critical"),
    ),
)
FLOOD = Fault[Services](
    "callers ask without end",
    flood,
    lambda platform: platform.at_work.end("flood"),
    (row("HighAPIRequestRate", service="api"),),
)
API_KILLED = Fault[Services](
    "the API is killed",
    lambda platform: platform.api.kill(),
    lambda platform: platform.api.start(),
    (row("ServiceDown", service="api"),),
)
ALL_KILLED = Fault[Services]("everything is killed", kill_all, start_all, (row("SystemDown"),))

BESIDE_EACH_OTHER = ((SCHEDULER,), (SLOW_MODEL,), (CONNECTIONS, LOCKS, EXHAUSTED, STOPPED, FLOOD))
AFTERWARDS = (API_KILLED, ALL_KILLED)
FAULTS = (*(fault for chain in BESIDE_EACH_OTHER for fault in chain), *AFTERWARDS)
