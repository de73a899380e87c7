"""Where the processes of this home write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from autotrader.adapters.processes import ProcessTable
from autotrader.config.settings import Settings
from autotrader.domain.rollout import Color

TASKS = "airflow-tasks"
START = "nothing runs here: `make quickstart` starts the platform"


def tables(settings: Settings) -> Iterator[tuple[str, ProcessTable]]:
    """Process tables that are there, and what the names in them begin with; none is made."""
    home = settings.home.resolve()
    places = {"": home / "processes"}
    places |= {f"{color}-": home / "deployment" / "processes" / color for color in Color}
    for prefix, folder in places.items():
        if folder.is_dir():
            yield prefix, ProcessTable(folder)


def log_files(settings: Settings) -> dict[str, list[Path]]:
    """Log files by service; tasks of Airflow have one each."""
    home = settings.home.resolve()
    found: dict[str, list[Path]] = {}
    for path in sorted((home / "processes").glob("*.log")):
        found[path.stem] = [path]
    for color in Color:
        for path in sorted((home / "deployment" / "processes" / color).glob("*.log")):
            found[f"{color}-{path.stem}"] = [path]
    for path in sorted((home / "monitoring" / "log").glob("*.log")):
        found[path.stem] = [path]
    tasks = sorted((home / "airflow" / "logs").glob("dag_id=*/**/*.log"))
    if tasks:
        found[TASKS] = tasks
    return found
