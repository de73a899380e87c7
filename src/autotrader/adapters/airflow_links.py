"""Buttons on a task's page in Airflow's UI: to what the task made, and to what to do when it fails.

Airflow's API server asks for them when the page is opened; a task that made nothing of the kind has no
button. They are read from what the task returned, in Airflow's own database.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import attrs
from airflow.configuration import conf
from airflow.sdk import BaseOperatorLink

from autotrader.adapters.console_paths import is_web, report_url, runbook_url
from autotrader.domain.runbooks import runbooks_of

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

NONE = ""
_RETURNED = "return_value"


def root_path() -> str:
    """Path below which Airflow's UI is served; empty at the top."""
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


@attrs.define()
class TrackingRunLink(BaseOperatorLink):
    """The run in MLflow, with its gate report."""

    name: ClassVar[str] = "MLflow run and gate report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        url = str(_returned(ti_key).get("report_url", NONE))
        return url if is_web(url) else NONE


@attrs.define()
class HealthReportLink(BaseOperatorLink):
    """The health report that the run wrote."""

    name: ClassVar[str] = "Health report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        parts = PurePath(str(_returned(ti_key).get("report", NONE))).parts
        if parts[-4:-2] != ("reports", "health"):
            return NONE
        return report_url(root_path(), parts[-2], parts[-1])


@attrs.define()
class RunbookLink(BaseOperatorLink):
    """What to do when a run of the DAG fails."""

    name: ClassVar[str] = "Runbook"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        pages = runbooks_of(ti_key.dag_id)
        return (runbook_url(root_path(), _runbook_base(), pages[0]) or NONE) if pages else NONE


@cache
def _runbook_base() -> str:
    from autotrader.config.settings import load_settings

    return load_settings().monitoring.runbook_url


def _returned(key: TaskInstanceKey) -> Mapping[str, Any]:
    """What the task returned, where that is a record."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    query = XComModel.get_many(
        run_id=key.run_id,
        key=_RETURNED,
        dag_ids=key.dag_id,
        task_ids=key.task_id,
        map_indexes=key.map_index,
        limit=1,
    )
    with create_session() as session:
        found = session.scalars(query).first()
        value = XComModel.deserialize_value(found) if found is not None else None
    return value if isinstance(value, dict) else {}
