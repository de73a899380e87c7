"""Stage 6: Airflow and its DAGs."""

from __future__ import annotations

from collections.abc import Iterator

from autotrader.adapters.airflow_api import AirflowApi
from autotrader.adapters.airflow_client import airflow_of
from autotrader.apps.api.checks import scheduler
from autotrader.config.settings import Environment, Settings
from autotrader.domain.thresholds import ALERTS, READINESS
from autotrader.readiness.findings import Finding, State, failed, of_component, ok, warning

_ENDED = ("success", "failed")


def look(*, settings: Settings) -> Iterator[Finding]:
    """Whether its parts live, all DAGs are there and on, and their last runs came through."""
    parts = of_component("Airflow", lambda: scheduler(settings), "make status; make restart")
    yield parts
    if parts.reason.startswith("Airflow was not started"):
        return
    with airflow_of(settings, timeout_seconds=READINESS.answer_seconds) as api:
        yield _imports(api)
        paused = api.paused()
        yield _there(settings, paused)
        yield _on(settings, paused)
        yield _runs(api, sorted(paused))


def _imports(api: AirflowApi) -> Finding:
    errors = api.import_errors()
    if not errors:
        return ok("DAG files", "0 import errors")
    named = "; ".join(f"{file}: {error}" for file, error in errors.items())
    return failed(
        "DAG files", f"{len(errors)} do not parse: {named}", "mend the file; Airflow looks again by itself"
    )


def _there(settings: Settings, paused: dict[str, bool]) -> Finding:
    """One file a DAG, named as its id: the checkout says which there should be."""
    folder = settings.airflow.dags_folder
    wanted = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    absent = sorted(wanted - set(paused))
    if absent:
        todo = (
            f"look at the dag-processor's log: make logs SERVICE=airflow-dag-processor ({folder.resolve()})"
        )
        return failed("DAGs", f"{len(absent)} of {len(wanted)} are not known: {', '.join(absent)}", todo)
    return ok("DAGs", f"all {len(wanted)} of {folder} are known")


def _on(settings: Settings, paused: dict[str, bool]) -> Finding:
    off = sorted(name for name, is_paused in paused.items() if is_paused)
    if not off:
        return ok("paused DAGs", f"0 of {len(paused)}")
    reason, todo = (
        f"{len(off)} of {len(paused)} are paused: {', '.join(off)}",
        "unpause them in Airflow's list",
    )
    is_production = settings.environment is Environment.PRODUCTION
    return (failed if is_production else warning)("paused DAGs", reason, todo)


def _runs(api: AirflowApi, dag_ids: list[str]) -> Finding:
    """Failures in a row, of the DAG that has most."""
    rows = {name: api.runs(name, states=_ENDED, order_by="-end_date", limit=10).runs for name in dag_ids}
    in_a_row = {
        name: next((n for n, run in enumerate(runs) if run.state == "success"), len(runs))
        for name, runs in rows.items()
    }
    name, count = max(in_a_row.items(), key=lambda item: item[1], default=("", 0))
    if not count:
        return ok("runs", f"the newest of {sum(map(bool, rows.values()))} DAGs with runs succeeded")
    reason, todo = f"{count} runs of {name} failed in a row", f"make logs, and the run of {name} in Airflow"
    is_alarm = count >= ALERTS.pipeline_failures
    return Finding("runs", State.FAILED if is_alarm else State.WARNING, reason, todo)
