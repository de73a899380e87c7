"""DAGs that follow the clock on the wall in New York, in summer and in winter."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "dags"))


def schedule_of(dag_id: str) -> Any:
    """As the scheduler gets it: written into its database and read again."""
    import importlib

    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable

    dag = getattr(importlib.import_module(dag_id), dag_id)()
    return decode_timetable(encode_timetable(dag.schedule))


@pytest.mark.parametrize(
    ("dag_id", "after", "first"),
    [
        ("close_of_market", "2024-02-29T12:00", "2024-02-29T21:05"),  # winter
        ("daily_summary", "2024-02-29T12:00", "2024-02-29T21:30"),
        ("daily_summary", "2024-03-01T22:00", "2024-03-04T21:30"),  # over the weekend
        ("daily_summary", "2024-03-08T22:00", "2024-03-11T20:30"),  # summer time began on Sunday
        ("close_of_market", "2024-07-01T12:00", "2024-07-01T20:05"),  # summer
    ],
)
def test_it_runs_after_the_close_in_new_york_all_the_year(
    dag_id: str, after: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.timetables import trigger
    from airflow.timetables.base import TimeRestriction

    monkeypatch.setattr(trigger, "utcnow", lambda: datetime.fromisoformat(after).replace(tzinfo=UTC))
    info = schedule_of(dag_id).next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=False)
    )
    assert info is not None
    assert info.run_after == datetime.fromisoformat(first).replace(tzinfo=UTC)


def test_the_load_after_the_close_waits_for_the_data_without_holding_a_worker() -> None:
    import importlib

    load = importlib.import_module("close_of_market").close_of_market().get_task("load_equity_bars")
    assert load.trigger_dag_id == "data_pipeline"
    assert load.wait_for_completion
    assert load.deferrable
