"""From market data to live predictions, in a running Airflow, on this machine."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from autotrader import command
from autotrader.adapters.airflow_api import AirflowApi, TaskInstance
from autotrader.apps.stack import progress, services
from autotrader.apps.stack.market import MarketChoice, choose_market
from autotrader.apps.stack.summary import QuickstartSummary, deployment_of, render
from autotrader.config.settings import MarketSource, Settings, load_settings
from autotrader.domain.errors import DependencyError, NotFound, Refused
from autotrader.files import write_atomically
from autotrader.ports.clock import MarketClock

PARSE_SECONDS = 300.0
TRADED = timedelta(days=1)
TRADING_SECONDS = 600.0
DAGS = {"data_pipeline", "training_pipeline", "deployment_pipeline", "feature_health_check"}


def quickstart(*, keep_running: bool = True, clock: MarketClock) -> command.Result:
    """From market data to a gated model that serves predictions, on embedded defaults.

    Starts what is needed (a stand-in exchange unless Binance answers, MLflow, Airflow, the rollout
    controller, the API), runs `data_pipeline`, `training_pipeline`, `deployment_pipeline` and
    `feature_health_check` in Airflow, trades the last day on paper with the model that is live by
    then, and shows what came of it. Run again, it goes on from what is there.

    Parameters
    ----------
    keep_running : bool
        Leave Airflow and MLflow up for a look around; `autotrader down` ends them.
    """
    console = Console(stderr=True, soft_wrap=True)
    settings = load_settings(of_stack=False)
    seconds: dict[str, float] = {}
    with _alone(settings.home):
        with _timed(seconds, "prepare"):
            market = market_of(settings, clock)
            _announce(market, console)
            settings = services.start(settings, market, tell=console.print)
        with services.airflow_client(settings) as api:
            _wait_for_dags(api, DAGS)
            # Training hands a promoted version over by starting a run of it.
            api.unpause("deployment_pipeline")
            with _timed(seconds, "data_pipeline"):
                data = _run(api, "data_pipeline", _data_conf(settings, market), console)
            with _timed(seconds, "training_pipeline"):
                training = _run(api, "training_pipeline", {}, console)
            asked = _returned(api, "training_pipeline", training, "trigger_deployment")
            if asked:
                with _timed(seconds, "deployment_pipeline"):
                    conf = {name: asked[name] for name in ("model_version", "profile")}
                    _run(api, "deployment_pipeline", conf, console)
            with _timed(seconds, "feature_health_check"):
                checked = _run(api, "feature_health_check", {}, console)
            deployment = _deployment()
            trading = None
            if deployment is not None:
                with _timed(seconds, "trading"):
                    trading = _trade(market, console)
            summary = QuickstartSummary.of(
                settings,
                market,
                health=api.returned("data_pipeline", data, "check_data_health"),
                validated=api.returned("training_pipeline", training, "validate_model"),
                registered=_returned(api, "training_pipeline", training, "register_model"),
                deployment=deployment,
                trading=trading,
                health_check=api.returned("feature_health_check", checked, "generate_health_report"),
                seconds=seconds,
            )
        if not keep_running:
            services.stop(settings)
    return command.Result(summary, render(summary, settings, keep_running=keep_running))


def _deployment() -> Any:
    """Read with the settings that the stack has written by now."""
    with command.bound(deployment_of, {}) as read:
        return read()


def _trade(market: MarketChoice, console: Console) -> Any:
    """Trade the market's last day on paper, in a process of its own; what came of it.

    Raises
    ------
    DependencyError
        If the trader did not get through.
    """
    start, end = market.end - TRADED, market.end
    console.print(f"Trading {start:%F %H:%M} to {end:%F %H:%M} UTC on paper")
    argv = [sys.executable, "-m", "autotrader.apps.trader", "--json"]
    ended = subprocess.run(
        [*argv, "--replay", start.isoformat(), end.isoformat()],
        stdout=subprocess.PIPE,
        check=False,
        timeout=TRADING_SECONDS,
    )
    if ended.returncode:
        raise DependencyError(f"expected the trader to get through the day, ended with {ended.returncode}")
    return json.loads(ended.stdout)


def market_of(settings: Settings, clock: MarketClock) -> MarketChoice:
    """The market of the last run if there was one: bars of two sources are never mixed in one lake."""
    remembered = settings.home / "market.json"
    if remembered.exists():
        before = MarketSource(json.loads(remembered.read_text())["source"].lower())
        if settings.market_source not in (MarketSource.AUTO, before):
            raise Refused(
                f"this home holds {before.value} data, AUTOTRADER_MARKET_SOURCE asks for"
                f" {settings.market_source.value}: `make clean` first, or set another AUTOTRADER_HOME"
            )
        again = settings.model_copy(update={"market_source": before})
        return replace(choose_market(again, clock), reason="as in the run before; `make clean` starts anew")
    market = choose_market(settings, clock)
    write_atomically(remembered, json.dumps({"source": market.source}).encode())
    return market


def _announce(market: MarketChoice, console: Console) -> None:
    style = "bold yellow" if market.source == "SIMULATED" else "bold"
    console.print(f"[{style}]Market data: {market.source}[/] ({market.reason})")
    console.print(
        f"Instruments: {', '.join(market.instruments)}; {market.start:%F} to {market.end:%F %H:%M} UTC"
    )
    for symbol, reason in market.left_out.items():
        console.print(f"[yellow]Left out: {symbol}: {reason}[/]")
    if market.added:
        console.print(
            f"[dim]{', '.join(market.added)}: recorded too, so taken as well;"
            " AUTOTRADER_BINANCE__INSTRUMENTS chooses[/]"
        )


def _data_conf(settings: Settings, market: MarketChoice) -> dict[str, Any]:
    if (settings.home / "lake" / "bars").exists():
        return {"mode": "incremental"}
    return {"mode": "backfill", "start_date": f"{market.start:%F}"}


def _run(api: AirflowApi, dag_id: str, conf: Mapping[str, Any], console: Console) -> str:
    """Trigger the DAG (or join its run that is under way), follow it to its end; returns the run id.

    Raises
    ------
    DependencyError
        If the run failed, with what its failed tasks said last.
    """
    api.unpause(dag_id)
    under_way = api.unfinished_runs(dag_id)
    run_id = under_way[0] if under_way else api.trigger(dag_id, conf)
    run, tasks = progress.follow(api, dag_id, run_id, console)
    if run.state != "success":
        raise DependencyError(_why(api, dag_id, run_id, tasks))
    return run_id


def _returned(api: AirflowApi, dag_id: str, run_id: str, task_id: str) -> Any:
    """What the task returned; None if it was skipped."""
    try:
        return api.returned(dag_id, run_id, task_id)
    except NotFound:
        return None


def _why(api: AirflowApi, dag_id: str, run_id: str, tasks: list[TaskInstance]) -> str:
    lines = [f"{dag_id} failed in Airflow (run {run_id}):"]
    for task in tasks:
        if task.state == "failed":
            name = task.task_id + (f"[{task.label or task.map_index}]" if task.map_index >= 0 else "")
            lines.append(f"  {name}: {api.failure(task, dag_id, run_id)}")
    return "\n".join(lines)


def _wait_for_dags(api: AirflowApi, wanted: set[str]) -> None:
    deadline = time.monotonic() + PARSE_SECONDS
    while not wanted <= api.dag_ids():
        errors = api.import_errors()
        if errors:
            raise DependencyError("; ".join(f"{file}: {error}" for file, error in errors.items()))
        if time.monotonic() > deadline:
            raise DependencyError(f"Airflow did not find the DAGs {sorted(wanted)} in {PARSE_SECONDS:g} s")
        time.sleep(0.5)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Refuse a second quickstart on the same home."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "quickstart.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"another quickstart is at work on {home}: wait for it to end") from None
        yield


@contextmanager
def _timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    seconds[phase] = round(time.monotonic() - begun, 1)


if __name__ == "__main__":
    sys.exit(command.run(quickstart))
