"""A stand-in for Airflow whose parts may be dead, DAGs paused, and files broken."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes.airflow_history import AirflowHistory, Query

DAGS = tuple(sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "dags").glob("*.py")))


@dataclass
class Airflow(AirflowHistory):
    """All DAGs of the checkout; what is well unless it is said to be otherwise."""

    dags: tuple[str, ...] = DAGS
    dead: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)
    broken: dict[str, str] = field(default_factory=dict)

    def asked(self, method: str, path: str, query: Query, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if not self.down and path == "/api/v2/monitor/health":
            parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
            return 200, {p: {"status": "unhealthy" if p in self.dead else "healthy"} for p in parts}
        if not self.down and path == "/api/v2/dags":
            return 200, {"dags": [{"dag_id": d, "is_paused": d in self.paused} for d in self.dags]}
        if not self.down and path == "/api/v2/importErrors":
            rows = [{"filename": f, "stack_trace": f"Traceback\n{e}"} for f, e in self.broken.items()]
            return 200, {"import_errors": rows}
        return super().asked(method, path, query, body)
