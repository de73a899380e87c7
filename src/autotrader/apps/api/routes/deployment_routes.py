"""Which model is live, and what is rolling out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from fastapi import Query as FromQuery

from autotrader.apps.api.bodies import DeploymentsBody, RolloutBody, RouteBody, SlotBody
from autotrader.apps.api.queries import Query
from autotrader.apps.api.shapes import answer
from autotrader.apps.api.sources import Sources


class DeploymentsQuery(Query):
    limit: int = FromQuery(10, ge=1, le=100, description="Rollouts")


def deployment_routes(sources: Sources) -> APIRouter:
    router = APIRouter(tags=["deployment"])
    records = sources.deployment

    @router.get("/api/deployments", response_model=DeploymentsBody)
    def deployments(query: Annotated[DeploymentsQuery, FromQuery()]) -> Response:
        """What is live, who answers for each instrument now, and the newest rollouts."""
        now, live, heard = sources.clock.now(), records.live(), records.heartbeat("controller")
        body = DeploymentsBody(
            strategy_id=sources.settings.strategy.strategy_id,
            active_version=live.version if live else None,
            active_color=live.candidate if live else None,
            controller_seen_at=heard[0] if heard else None,
            slots=[SlotBody.model_validate(slot) for slot in records.slots().values()],
            routes=[
                RouteBody(
                    instrument=route.instrument,
                    color=route.owner(now),
                    epoch=route.epoch,
                    green_until=route.green_until,
                    changed_at=route.changed_at,
                    changed_by=route.changed_by,
                )
                for route in records.routes()
            ],
            rollouts=[RolloutBody.model_validate(rollout) for rollout in records.recent(query.limit)],
        )
        return answer(body.model_dump_json())

    return router
