"""Derive a day again in Airflow: `python -m autotrader.apps.operations.reprocess`."""

from __future__ import annotations

from datetime import date
from uuid import uuid4

from autotrader import command
from autotrader.adapters.airflow_client import airflow_of
from autotrader.config.settings import Settings
from autotrader.data.selection import select_instruments
from autotrader.domain.errors import ConfigurationError, NotFound, Refused
from autotrader.domain.instruments import InstrumentId

DAG_ID = "data_pipeline"


def reprocess(
    *,
    date: date | None = None,
    instrument: str | None = None,
    run_id: str | None = None,
    require_idle: bool = False,
    settings: Settings,
) -> command.Result:
    """Trigger data_pipeline with mode reprocess for a day: features follow the bars that stand.

    Parameters
    ----------
    date : date or None
        The day, UTC.
    instrument : str or None
        A symbol of the settings, or venue:symbol; every instrument of the settings if left out.
    run_id : str or None
        Names the run: asked for again, the one that is there is found.
    require_idle : bool
        Trigger nothing, and refuse if a run of data_pipeline is queued or under way.
    """
    if require_idle == (date is not None):
        raise ConfigurationError("expected either --date or --require-idle")
    with airflow_of(settings) as api:
        if date is None:
            unfinished = api.unfinished_runs(DAG_ID)
            if unfinished:
                raise Refused(
                    f"expected no run of {DAG_ID} under way, was {', '.join(unfinished)}: wait for its end"
                )
            return command.Result({"unfinished": ()}, f"no run of {DAG_ID} is under way")
        named = select_instruments(settings, [instrument])[0] if instrument else None
        name, known = run_id or f"reprocess-{date}-{uuid4().hex[:8]}", True
        try:
            state = api.run(DAG_ID, name).state
        except NotFound:
            name, state, known = api.trigger(DAG_ID, _conf(date, named), run_id=name), "queued", False
    data = {"dag_id": DAG_ID, "run_id": name, "state": state, "triggered": not known}
    said = "was triggered before" if known else "is triggered"
    return command.Result(data, f"{DAG_ID} run {name} {said} ({state}): mode reprocess, {date}")


def _conf(day: date, instrument: InstrumentId | None) -> dict[str, object]:
    conf: dict[str, object] = {"mode": "reprocess", "date": day.isoformat()}
    if instrument is not None:
        conf |= {"venues": [instrument.venue.value], "instruments": [instrument.symbol]}
    return conf


if __name__ == "__main__":
    raise SystemExit(command.run(reprocess))
