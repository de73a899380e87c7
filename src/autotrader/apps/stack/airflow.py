"""Airflow on this machine: its environment and its processes, all on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from autotrader.adapters.airflow_login import PASSWORDS, folder, keep_password
from autotrader.adapters.airflow_login import password as password
from autotrader.adapters.processes import ProcessSpec
from autotrader.config.settings import Settings
from autotrader.domain.errors import DependencyError

API_SERVER = "airflow-api-server"
COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


def environment(settings: Settings, *, dags_folder: Path, plugins_folder: Path) -> dict[str, str]:
    """What Airflow's processes and tasks need; variables that the user has set win.

    `airflow standalone` is not used: its log servers listen on all interfaces and cannot be told
    otherwise.
    """
    home = folder(settings)
    port = settings.airflow.port
    defaults = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins_folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS": "autotrader.adapters.airflow_celery.CONFIG",
        "AIRFLOW__CORE__PARALLELISM": str(max(2, os.cpu_count() or 2)),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{settings.airflow.user}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / PASSWORDS),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        "AIRFLOW__TRIGGERER__CAPACITY": "100",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
    }
    return {name: os.environ.get(name, value) for name, value in defaults.items()}


def trading_page(settings: Settings) -> str:
    """Where the page of `plugins/trading.py` is in Airflow's UI."""
    return f"{settings.airflow_url}/plugin/trading"


def prepare(settings: Settings, env: dict[str, str]) -> None:
    """Write the login and bring Airflow's database to its newest form.

    Raises
    ------
    DependencyError
        With the end of Airflow's own output if the migration fails.
    """
    keep_password(settings)
    done = subprocess.run(
        [*_airflow(), "db", "migrate"], env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        raise DependencyError(f"airflow db migrate failed:\n{end}")


def processes(env: dict[str, str]) -> list[ProcessSpec]:
    """The API server, scheduler, dag-processor and triggerer; a worker too where Celery runs tasks."""
    specs = [
        ProcessSpec(API_SERVER, [*_airflow(), "api-server"], env),
        ProcessSpec("airflow-scheduler", [*_airflow(), "scheduler", "--skip-serve-logs"], env),
        ProcessSpec("airflow-dag-processor", [*_airflow(), "dag-processor"], env),
        ProcessSpec("airflow-triggerer", [*_airflow(), "triggerer", "--skip-serve-logs"], env),
    ]
    if "Celery" in env["AIRFLOW__CORE__EXECUTOR"]:
        worker = [*_airflow(), "celery", "worker", "--skip-serve-logs", "--concurrency", "2"]
        specs.append(ProcessSpec("airflow-worker", worker, env))
    return specs


def _airflow() -> list[str]:
    return [sys.executable, "-m", "airflow"]
