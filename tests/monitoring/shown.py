"""What Grafana would show: each query of the generated dashboards, asked of a real Prometheus."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import httpx


def panels_of(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Dashboard's name and panel, of all that were written below the folder."""
    return [
        (path.stem, panel)
        for path in sorted((folder / "dashboards").glob("*.json"))
        for panel in json.loads(path.read_text())["panels"]
        if panel["type"] != "row"
    ]


def empty_queries(folder: Path, prometheus: str) -> dict[str, list[str]]:
    """Titles of the panels with a query that has no number to show, and those queries."""
    found: dict[str, list[str]] = {}
    with httpx.Client(base_url=prometheus, trust_env=False, timeout=60) as client:
        for name, panel in panels_of(folder):
            asked = [target["expr"] for target in panel["targets"]]
            empty = [query for query in asked if not _has_data(client, query)]
            if empty:
                found[f"{name}: {panel['title']}"] = empty
    return found


def chosen(query: str) -> str:
    """As Grafana fills it in, with everything chosen."""
    for name, value in {"$__rate_interval": "30s", "$service": ".*", "$instrument": ".*"}.items():
        query = query.replace(name, value)
    return query


def _has_data(client: httpx.Client, query: str) -> bool:
    answer = client.get("/api/v1/query", params={"query": chosen(query)})
    assert answer.status_code == 200, (query, answer.text)
    values = [float(each["value"][1]) for each in answer.json()["data"]["result"]]
    return any(math.isfinite(value) for value in values)
