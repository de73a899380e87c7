"""An experiment tracker that forgets with the process, and can be made unreachable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autotrader.domain.errors import NotFound, Unreachable


@dataclass
class RecordedRun:
    name: str
    parent_run_id: str | None
    tags: dict[str, str]
    params: dict[str, object] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tables: dict[str, dict[str, list[object]]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    status: str = "RUNNING"


class InMemoryTracker:
    def __init__(self) -> None:
        self.runs: dict[str, RecordedRun] = {}
        self.reachable = True

    def start_run(
        self, *, key: str, name: str, parent_run_id: str | None = None, tags: Mapping[str, str] = {}
    ) -> str:
        self._require_server()
        self.runs.setdefault(key, RecordedRun(name, parent_run_id, dict(tags)))
        return key

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, object] = {},
        metrics: Mapping[str, float] = {},
    ) -> None:
        self._require_server()
        self.runs[run_id].params |= params
        self.runs[run_id].metrics |= metrics

    def log_table(self, run_id: str, file_name: str, rows: Mapping[str, list[object]]) -> None:
        self._require_server()
        self.runs[run_id].tables[file_name] = dict(rows)

    def read_table(self, run_id: str, file_name: str) -> Mapping[str, list[object]]:
        self._require_server()
        tables = self.runs[run_id].tables if run_id in self.runs else {}
        if file_name not in tables:
            raise NotFound(f"expected a table that the run keeps, was {file_name!r}")
        return tables[file_name]

    def log_file(self, run_id: str, path: Path, folder: str = "") -> None:
        self._require_server()
        self.runs[run_id].files.append(f"{folder}/{path.name}".lstrip("/"))

    def finish(self, run_id: str, *, status: str = "FINISHED") -> None:
        self._require_server()
        self.runs[run_id].status = status

    def run_url(self, run_id: str) -> str:
        return f"memory://{run_id}"

    def _require_server(self) -> None:
        if not self.reachable:
            raise Unreachable("expected the tracking server to answer, was switched off: try again")
