"""DAGs that follow the clock on the wall in New York, in summer and in winter."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

DAGS = Path(__file__).resolve().parents[2] / "dags"


def dag_of(dag_id: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"dag_{dag_id}", DAGS / f"{dag_id}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, dag_id)()


def schedule_of(dag_id: str) -> Any:
    """As the scheduler gets it: written into its database and read again."""
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable

    return decode_timetable(encode_timetable(dag_of(dag_id).schedule))


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
    load = dag_of("close_of_market").get_task("load_equity_bars")
    assert load.trigger_dag_id == "data_pipeline"
    assert load.wait_for_completion
    assert load.deferrable
