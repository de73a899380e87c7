"""Parameters of listings, checked; a parameter that there is not is refused, too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)
from starlette.responses import Response

from autotrader.apps.api.bodies import Body
from autotrader.apps.api.shapes import answer, encode, rows_of
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.thresholds import API
from autotrader.ports.alerts import AlertState
from autotrader.ports.events import EventType
from autotrader.ports.trading import Page

ACCOUNT = r"^[a-z0-9][a-z0-9_-]{0,30}$"
MOST_OFFSET = 1_000_000


def _instrument(value: object) -> object:
    return InstrumentId.parse(value) if isinstance(value, str) else value


Instant = Annotated[
    AwareDatetime,
    AfterValidator(lambda value: value.astimezone(UTC)),
    Field(examples=["2026-03-01T09:30:00Z"]),
]
InstrumentQuery = Annotated[
    InstrumentId,
    BeforeValidator(_instrument),
    WithJsonSchema({"type": "string", "examples": ["binance:BTCUSDT"]}),
]
Account = Annotated[str, Field(pattern=ACCOUNT, description="Default: the account of the settings")]


class Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AccountQuery(Query):
    account: Account | None = None


class Span(Query):
    """Which part of a list."""

    start: Instant | None = Field(None, description="From here on")
    end: Instant | None = Field(None, description="Up to, but not including")
    limit: int = Field(API.listed_rows, ge=1, le=API.most_rows)
    offset: int = Field(0, ge=0, le=MOST_OFFSET)

    def listing(self, found: Sequence[object], kind: type[Body]) -> Response:
        """The answer, a `Listing[kind]`.

        Parameters
        ----------
        found : sequence
            One more than was asked for, where there is one: it tells that there is a next page.
        """
        more = len(found) > self.limit
        listing = {
            "items": rows_of(kind, found[: self.limit]),
            "start": self.start,
            "end": self.end,
            "limit": self.limit,
            "offset": self.offset,
            "next_offset": self.offset + self.limit if more else None,
        }
        return answer(encode(listing))


class AccountSpan(Span):
    """Which part of an account's list; without a start, from its beginning."""

    account: Account | None = None
    instrument: InstrumentQuery | None = None

    def page(self) -> Page:
        """One row more than is shown."""
        return Page(self.start, self.end, self.instrument, self.limit + 1, self.offset)


class AlertSpan(Span):
    """Which alerts; default: of the last 24 hours."""

    severity: Literal["info", "warning", "critical"] | None = None
    instrument: InstrumentQuery | None = None


class StatedAlertSpan(AlertSpan):
    """Which alerts; default: of the last 24 hours, in any state."""

    state: AlertState | None = None


class EventSpan(AlertSpan):
    """Which events; default: of the last 24 hours."""

    type: EventType | None = None


class SummarySpan(Query):
    start: Instant | None = None
    end: Instant | None = None
