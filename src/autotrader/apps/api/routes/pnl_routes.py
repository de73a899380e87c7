"""What was earned."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from fastapi import Query as FromQuery
from msgspec import Raw

from autotrader.apps.api.accounts import earned
from autotrader.apps.api.bodies import PnlBody
from autotrader.apps.api.figures import FigureBook
from autotrader.apps.api.queries import AccountQuery
from autotrader.apps.api.shapes import answer, encode
from autotrader.apps.api.sources import Sources


class PnlQuery(AccountQuery):
    days: int = FromQuery(
        30, ge=1, le=92, description="Window of performance and curve, up to the newest bar"
    )
    points: int = FromQuery(500, ge=2, le=5_000, description="Of the equity curve")


def pnl_routes(sources: Sources) -> APIRouter:
    router = APIRouter(tags=["trading"])
    figures = FigureBook(sources.clock)

    @router.get("/api/pnl", response_model=PnlBody)
    def pnl(query: Annotated[PnlQuery, FromQuery()]) -> Response:
        """Profit and loss now, and the performance of the last days."""
        body, found = earned(
            sources.records,
            figures,
            query.account or sources.account,
            same_as_base=sources.settings.trading.same_as_base,
            days=query.days,
        )
        # `PnlBody`, whose curve need not be written again for each that asks.
        return answer(
            encode({**body.model_dump(mode="json"), "equity_curve": Raw(found.curve_json(query.points))})
        )

    return router
