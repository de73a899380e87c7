"""Jobs: what may be asked for, and what is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from autotrader.apps.api.bodies import Body, Plain
from autotrader.apps.api.queries import Span
from autotrader.config.settings import Settings
from autotrader.pipelines.params import BACKTEST
from autotrader.ports.jobs import Job, JobState, JobType, Try

BUY_AND_HOLD = "buy_and_hold"

_COST = BACKTEST["round_trip_cost_bps"]
Symbol = Annotated[str, StringConstraints(min_length=1, max_length=50)]


class BacktestAsked(BaseModel):
    """A backtest: a model version, or a strategy; instruments, window, costs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_version: str | None = Field(
        None,
        pattern=BACKTEST["model_version"]["pattern"],
        description="Such as v1.2.0, a number, or an alias: champion, challenger, previous",
    )
    strategy: str | None = Field(
        None,
        max_length=100,
        description="That of the settings, which trades the model version (default: the champion), or "
        "buy_and_hold; default: the first with a model version, the second without",
    )
    instruments: list[Symbol] | None = Field(
        None, min_length=1, max_length=1_000, description="Of the settings, as symbol; default: all of them"
    )
    start_date: date | None = Field(None, description="First day, UTC; default: as far as there is")
    end_date: date | None = Field(None, description="Last day, UTC, included; default: the newest")
    round_trip_cost_bps: float | None = Field(
        None,
        ge=_COST["minimum"],
        le=_COST["maximum"],
        allow_inf_nan=False,
        description="Fees and slippage, in and out; default: the setting",
    )

    @model_validator(mode="after")
    def _window_has_days(self) -> Self:
        if self.start_date and self.end_date and self.start_date > self.end_date:
            raise ValueError(f"expected a start_date until {self.end_date}, was {self.start_date}")
        if self.instruments is not None and len(set(self.instruments)) < len(self.instruments):
            raise ValueError("expected each instrument once, was one twice")
        return self

    def params(self, settings: Settings) -> Mapping[str, Any]:
        """Of the DAG's run.

        Raises
        ------
        ValueError
            If instruments or strategy are not of the settings, or strategy and version do not agree.
        """
        known = {instrument.symbol for instrument in settings.instruments()}
        unknown = sorted(set(self.instruments or ()) - known)
        if unknown:
            raise ValueError(f"expected instruments of {', '.join(sorted(known))}, was {', '.join(unknown)}")
        ours = settings.strategy.strategy_id
        if self.strategy not in (None, ours, BUY_AND_HOLD):
            raise ValueError(f"expected the strategy {ours} or {BUY_AND_HOLD}, was {self.strategy}")
        if self.strategy == BUY_AND_HOLD and self.model_version is not None:
            raise ValueError(f"expected no model_version with {BUY_AND_HOLD}, was {self.model_version}")
        version = self.model_version or ("champion" if self.strategy == ours else None)
        return {
            "model_version": version,
            "instruments": self.instruments,
            "start_date": self.start_date.isoformat() if self.start_date else None,
            "end_date": self.end_date.isoformat() if self.end_date else None,
            "round_trip_cost_bps": self.round_trip_cost_bps,
        }


class JobSpan(Span):
    """Which jobs; from the first on if not said otherwise."""

    type: JobType | None = None
    state: JobState | None = None


class JobBody(Body):
    id: str
    type: JobType
    state: JobState = Field(
        description="asked: Airflow may not know yet; failed: given up; cancelled: what ran is being stopped"
    )
    params: Plain
    asked_by: str
    asked_at: datetime
    attempts: int = Field(description="Tries that were asked for, since ever")
    reason: str = Field(description="Why the newest try that failed did, or who cancelled it; else empty")
    result: dict[str, Any] | None = Field(description="Null until it has succeeded")
    ended_at: datetime | None

    @classmethod
    def of(cls, job: Job) -> Self:
        return cls(**_fields(job))


class TryBody(Body):
    number: int
    state: JobState
    run_id: str = Field(description="In Airflow")
    asked_at: datetime
    run_after: datetime | None = Field(description="Airflow holds it back until then")
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    reason: str


class JobDetailBody(JobBody):
    history: list[TryBody] = Field(description="Its tries, in order")

    @classmethod
    def with_tries(cls, job: Job, tries: list[Try]) -> Self:
        return cls(**_fields(job), history=[TryBody.model_validate(each) for each in tries])


def _fields(job: Job) -> dict[str, Any]:
    shared = ("id", "type", "state", "params", "asked_by", "asked_at", "reason", "result", "ended_at")
    return {name: getattr(job, name) for name in shared} | {"attempts": job.tries}
