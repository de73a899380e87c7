"""What the local stack is doing."""

from __future__ import annotations

from autotrader import command
from autotrader.adapters.local_target import LocalTarget
from autotrader.apps.stack import airflow, services
from autotrader.apps.stack.services import API, EXCHANGE, MLFLOW
from autotrader.config.settings import Settings
from autotrader.domain.errors import ExitCode, Unreachable
from autotrader.domain.rollout import Color


def status(*, settings: Settings) -> command.Result:
    """What runs, where to look, and what was made.

    Exit code 1 if a process that was started has died.
    """
    processes = services.table(settings)
    states = {name: processes.process(name) for name in processes.names()}
    lines = [f"home      {settings.home.resolve()}"]
    lines += [
        f"{name:<22}"
        + (f"running (pid {process.pid})" if process else f"DIED, log {processes.log_path(name)}")
        for name, process in states.items()
    ]
    target = LocalTarget(settings)
    colours = {color.value: health for color in Color if (health := target.health(color)).live}
    lines += [
        f"{f'prediction-{color}':<22}{health.version}, {'ready' if health.ready else health.reason}"
        for color, health in colours.items()
    ]
    if not states and not colours:
        lines.append("nothing runs: `make quickstart` starts")
    data: dict[str, object] = {
        "home": settings.home.resolve(),
        "processes": {name: process.pid if process else None for name, process in states.items()},
        "colors": colours,
    }
    if states.get(airflow.API_SERVER):
        data["airflow"] = _airflow_health(settings)
        lines.append(f"Airflow   {settings.airflow_url}  {data['airflow']}")
        lines.append(f"          login {settings.airflow.user} / {airflow.password(settings)}")
        data["trading"] = airflow.trading_page(settings)
        lines.append(f"Trading   {data['trading']}  (in Airflow, same login)")
    if states.get(MLFLOW):
        data["mlflow"] = settings.mlflow_uri
        lines.append(f"MLflow    {settings.mlflow_uri}")
    if states.get(API):
        data["api"] = f"http://{settings.api.host}:{settings.api.port}"
        lines.append(f"API       {data['api']}")
    if states.get(EXCHANGE):
        data["exchange"] = settings.binance.rest_url
        lines.append(f"Exchange  {settings.binance.rest_url} (stand-in, {settings.binance.source} bars)")
    died = any(process is None for process in states.values())
    return command.Result(data, "\n".join(lines), ExitCode.FAILED if died else ExitCode.DONE)


def _airflow_health(settings: Settings) -> dict[str, str] | str:
    with services.airflow_client(settings) as api:
        try:
            return api.health()
        except Unreachable as error:
            return str(error)


if __name__ == "__main__":
    raise SystemExit(command.run(status))
