"""Runs of pipelines as Airflow's REST API lists them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from autotrader.adapters.airflow_client import airflow_of
from autotrader.config.settings import Settings
from autotrader.domain.errors import Rejected
from autotrader.ports.pipeline_runs import EndedRun

_PAGE = 100  # as many as Airflow gives at once


class AirflowRuns:
    """Logs in for each question, as whoever the settings name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def ended(self, start: datetime, end: datetime) -> Sequence[EndedRun]:
        """As `PipelineRuns`."""
        found: dict[tuple[str, str], EndedRun] = {}
        with airflow_of(self._settings) as airflow:
            since = start
            while since < end:
                page = airflow.runs(
                    states=("success", "failed"), ended_from=since, order_by="end_date", limit=_PAGE
                )
                runs = [
                    EndedRun(run.dag_id, run.run_id, run.state == "success", run.end)
                    for run in page.runs
                    if run.end is not None
                ]
                new = {(run.dag_id, run.run_id): run for run in runs} | found
                if page.total <= len(page.runs):
                    since = end
                elif len(new) == len(found):
                    raise Rejected(
                        f"expected fewer than {_PAGE} runs that ended at {since:%F %T}: ask for less"
                    )
                else:  # the last instant again: more may have ended in it
                    since = runs[-1].ended_at
                found = new
        within = [run for run in found.values() if start <= run.ended_at < end]
        return sorted(within, key=lambda run: run.ended_at)
