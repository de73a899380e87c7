"""Production's sign-offs as people give them: forms in a running Airflow, answered through its API."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from autotrader.adapters.airflow_api import FINAL_RUN_STATES, AirflowApi
from autotrader.apps.stack import airflow, services
from autotrader.bootstrap import Container
from autotrader.config.settings import Environment, Settings, load_settings
from autotrader.domain.errors import AutotraderError
from autotrader.domain.rollout import Stage
from autotrader.ports.approvals import Decision, Role
from tests.fakes import mlflow_server
from tests.models import TAGS, candidate
from tests.services import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
DAG = "deployment_pipeline"
READING_SECONDS = 2.0  # nobody reads a form faster
PATIENCE_SECONDS = 180.0
# Who deploys, and who signs for which role.
REQUESTER, QUANT, RISK = "otto", "quinn", "rita"


@dataclass
class Desk:
    """The deployment DAG in an Airflow of a production environment, and people who log in to it."""

    settings: Settings
    passwords: dict[str, str]
    mlflow: mlflow_server.StandInMlflow

    @property
    def container(self) -> Container:
        return Container(self.settings)

    def login(self, user: str) -> AirflowApi:
        return AirflowApi(self.settings.airflow_url, user=user, password=self.passwords[user])

    def register(self, folder: Path) -> str:
        """A version that passed its gates."""
        tags = {**TAGS, "gate_report_sha256": "ab" * 32}
        given = candidate(folder, "key", self.mlflow.make_run(), tags=tags)
        return self.container.registry.register(given, actor="test").semver

    def deploy(self) -> str:
        with self.login(REQUESTER) as api:
            return api.trigger(DAG, {"model_version": "latest", "profile": "fast"})

    def states(self, run_id: str) -> dict[str, str | None]:
        with self.login(REQUESTER) as api:
            return {task.task_id: task.state for task in api.tasks(DAG, run_id)}

    def wait(self, run_id: str, what: Callable[[dict[str, str | None]], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not what(states := self.states(run_id)):
            assert time.monotonic() < deadline, states
            time.sleep(0.2)

    def waiting(self, run_id: str) -> list[dict[str, Any]]:
        """Forms of the run that nobody answered, as Airflow's page of required actions lists them."""
        found = self.as_user(REQUESTER, "GET", f"dags/{DAG}/dagRuns/{run_id}/hitlDetails")
        return [form for form in found["hitl_details"] if not form["response_received"]]

    def answer(self, user: str, run_id: str, task_id: str, option: str, reason: str | None) -> dict[str, Any]:
        self.wait(run_id, lambda states: states[task_id] == "awaiting_input")
        # Airflow 3.3 takes a task for lost whose form is answered before.
        _until(lambda: self.scheduler_has_heard_of(run_id, task_id))
        time.sleep(READING_SECONDS)
        path = f"dags/{DAG}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        given = {} if reason is None else {"reason": reason}
        body = {"chosen_options": [option], "params_input": given}
        return self.as_user(user, "PATCH", path, json=body)

    def scheduler_has_heard_of(self, run_id: str, task_id: str) -> bool:
        """Whether the executor has told it that the task gave up its process."""
        said = services.table(self.settings).log_path("airflow-scheduler").read_text().splitlines()
        told = (line for line in said if "Received executor event with state success" in line)
        return any(f"'{run_id}'" in line and f"'{task_id}'" in line for line in told)

    def as_user(self, user: str, method: str, path: str, **request: Any) -> dict[str, Any]:
        with self.login(user) as api:
            found: dict[str, Any] = api._send(method, f"/api/v2/{path}", **request)
        return found

    def decisions(self) -> list[tuple[int, Role, Decision, str, str]]:
        """All that was recorded: round, role, decision, identity, reason."""
        approvals = self.container.approvals
        return sorted(
            (request.round, made.role, made.decision, made.identity, made.reason)
            for request in approvals.requests(self.settings.strategy.strategy_id)
            for made in approvals.decisions(request.id)
        )


@pytest.fixture
def desk(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / f"{DAG}.py").symlink_to(ROOT / "dags" / f"{DAG}.py")
    mlflow = mlflow_server.StandInMlflow()
    with mlflow_server.serve(mlflow) as tracking_uri:
        for name, value in {
            "AUTOTRADER_ENVIRONMENT": Environment.PRODUCTION.value,
            "AUTOTRADER_DATABASE__URL": f"sqlite:///{tmp_path}/autotrader.db",
            "AUTOTRADER_DATABASE__LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db",
            "AUTOTRADER_LAKE__URI": str(tmp_path / "lake"),
            "AUTOTRADER_LAKE__ARCHIVE_URI": str(tmp_path / "archive"),
            "AUTOTRADER_MLFLOW__TRACKING_URI": tracking_uri,
            "AUTOTRADER_AIRFLOW__PORT": str(free_port()),
            "AUTOTRADER_AIRFLOW__USER": REQUESTER,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{REQUESTER}:admin,{QUANT}:user,{RISK}:user",
        }.items():
            monkeypatch.setenv(name, value)
        settings = load_settings()
        env = airflow.environment(settings, dags_folder=dags, plugins_folder=tmp_path / "plugins")
        airflow.prepare(settings, env)
        processes = services.table(settings)
        try:
            for spec in airflow.processes(env):
                if spec.name != "airflow-triggerer":  # forms wait without one
                    processes.start(spec)
            with services.airflow_client(settings) as api:
                _until(lambda: _knows_the_dag(api))
                api.unpause(DAG)
            passwords = json.loads((airflow.folder(settings) / airflow.PASSWORDS).read_text())
            yield Desk(settings, passwords, mlflow)
        finally:
            processes.stop_all()


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _knows_the_dag(api: AirflowApi) -> bool:
    try:
        return DAG in api.dag_ids()
    except AutotraderError:
        return False


def test_forms_are_answered_in_airflow_and_decide_the_run(desk: Desk, tmp_path: Path) -> None:
    version = desk.register(tmp_path / "model")

    refused = desk.deploy()
    desk.wait(refused, lambda states: states["sign_off_quant"] == "awaiting_input")
    (form,) = desk.waiting(refused)
    assert form["subject"] == f"Quant Engineering: may {version} go to production?"
    desk.answer(QUANT, refused, "sign_off_quant", "reject", "drawdown of March")
    with desk.login(REQUESTER) as api:
        _until(lambda: api.run(DAG, refused).state in FINAL_RUN_STATES)
        assert api.run(DAG, refused).state == "failed"
        (quant,) = [t for t in api.tasks(DAG, refused) if t.task_id == "sign_off_quant"]
        why = api.failure(quant, DAG, refused)
    assert f"airflow:{QUANT} rejected it for Quant Engineering: drawdown of March" in why
    states = desk.states(refused)
    assert (states["sign_off_quant"], states["sign_off_risk"]) == ("failed", "upstream_failed")
    assert (states["pre_deploy_checks"], states["rollback"]) == ("upstream_failed", "skipped")
    assert desk.container.deployment_records.recent() == []

    approved = desk.deploy()
    desk.answer(QUANT, approved, "sign_off_quant", "approve", "explained since")
    desk.wait(approved, lambda states: states["sign_off_risk"] == "awaiting_input")
    assert desk.states(approved)["pre_deploy_checks"] is None
    desk.answer(RISK, approved, "sign_off_risk", "approve", None)
    container = desk.container
    records, clock = container.deployment_records, container.wall_clock

    def deferred(states: dict[str, str | None]) -> bool:
        records.beat("controller", clock.now())  # whoever is silent is given no rollout
        return states["pre_deploy_checks"] == "deferred"

    desk.wait(approved, deferred)
    rollout = records.active()
    assert rollout is not None
    assert (rollout.version, rollout.stage, rollout.requested_by) == (
        version,
        Stage.PRE_DEPLOY_CHECKS,
        f"airflow:{REQUESTER}",
    )
    assert desk.decisions() == [
        (1, Role.QUANT, Decision.REJECT, f"airflow:{QUANT}", "drawdown of March"),
        (2, Role.QUANT, Decision.APPROVE, f"airflow:{QUANT}", "explained since"),
        (2, Role.RISK, Decision.APPROVE, f"airflow:{RISK}", "as the gate report says"),
    ]
