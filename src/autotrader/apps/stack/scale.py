"""More or fewer processes of one service."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from autotrader import command
from autotrader.apps.stack import services
from autotrader.config.settings import Settings
from autotrader.domain.errors import ConfigurationError, DependencyError, Refused

COMPOSE_FILE = Path("docker-compose.yml")
SCALED = "airflow-worker"  # every other has a port, a lease or a schedule of its own
SECONDS = 300


def scale(*, service: str, replicas: int, settings: Settings) -> command.Result:
    """Run so many containers of a service, where Docker Compose runs the platform.

    The embedded platform has one process of each: there it says what widens it instead.

    Parameters
    ----------
    service : str
        Of docker-compose.yml, such as airflow-worker.
    replicas : int
        How many are to run.
    """
    if not 0 <= replicas <= 64:
        raise ConfigurationError(f"expected 0 to 64 replicas, was {replicas}")
    if service != SCALED:
        raise Refused(
            f"expected {SCALED}, was {service}: there is one of every other, the trader above all, since two "
            "on one account would both send orders"
        )
    if not _runs_by_compose(service):
        raise ConfigurationError(_advice(service, settings))
    words = ["up", "--detach", "--no-deps", "--no-recreate", "--scale", f"{service}={replicas}", service]
    done = _compose(*words)
    if done.returncode:
        end = "\n".join(done.stderr.splitlines()[-5:])
        raise DependencyError(f"expected Docker Compose to scale {service}, was:\n{end}")
    return command.Result(
        {"service": service, "replicas": replicas},
        f"{service}: {replicas} containers run; AIRFLOW_WORKERS={replicas} in .env keeps it so",
    )


def _runs_by_compose(service: str) -> bool:
    if not shutil.which("docker") or not COMPOSE_FILE.exists():
        return False
    asked = _compose("ps", "--all", "--quiet", service)
    return asked.returncode == 0 and bool(asked.stdout.strip())


def _compose(*words: str) -> subprocess.CompletedProcess[str]:
    argv = ["docker", "compose", "--file", str(COMPOSE_FILE), *words]
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise DependencyError(f"expected Docker to answer within {SECONDS} s, was silent") from error


def _advice(service: str, settings: Settings) -> str:
    what = "nothing runs"
    if settings.home.is_dir() and services.table(settings).names():
        what = "the embedded platform runs, with one process of each"
    wider = "set AIRFLOW__CORE__PARALLELISM to so many tasks at once, then `make restart`"
    return f"expected Docker Compose to run {service}, but {what}: {wider}, or start docker-compose.yml"


if __name__ == "__main__":
    raise SystemExit(command.run(scale))
