"""What is live, what rolls out, what was taken back, and which services are to run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from autotrader.apps.exporter.reading import Reading
from autotrader.db import engine as database
from autotrader.db.tables import ROLLOUTS
from autotrader.domain.rollout import Color, RolloutState, Stage
from autotrader.ports.deployment import DeploymentRecords

# Of a roll-back: the words behind it are a person's, and have no bound.
CANDIDATE, OTHER = "candidate", "other"


class Deployment:
    """Reads the records of one strategy.

    Parameters
    ----------
    failed_run : Callable
        When a run of the deployment pipeline failed last, as far as that is known.
    """

    def __init__(
        self,
        strategy_id: str,
        engine: Engine,
        records: DeploymentRecords,
        failed_run: Callable[[], datetime | None],
    ) -> None:
        self._strategy_id = strategy_id
        self._engine = engine
        self._records = records
        self._failed_run = failed_run

    def read(self, reading: Reading) -> None:
        """Add the state as it is recorded.

        Raises
        ------
        Unreachable
            If the database does not answer.
        """
        live, rollout = self._records.live(), self._records.active()
        for color in Color:
            is_live = live is not None and live.candidate is color
            reading.add("deployment_active_color", is_live, color=color.value)
        for stage in Stage:
            is_here = rollout is not None and rollout.stage is stage
            reading.add("deployment_stage", is_here, stage=stage.value)
        counts, newest = self._taken_back()
        for reason in (CANDIDATE, OTHER):
            reading.add("deployment_rollbacks_total", counts.get(reason, 0), reason=reason)
        failures = [at for at in (newest, self._failed_run()) if at is not None]
        reading.add(
            "deployment_last_failure_timestamp_seconds", max(failures).timestamp() if failures else None
        )
        slots = self._records.slots()
        for color in Color:
            is_wanted = color in slots and slots[color].is_wanted
            reading.add("service_expected", is_wanted, service=f"prediction-{color.value}")

    def _taken_back(self) -> tuple[dict[str, int], datetime | None]:
        """How many rollouts, by reason, and when the newest of them began to be."""
        query = (
            sa.select(ROLLOUTS.c.is_faulty, sa.func.count(), sa.func.max(ROLLOUTS.c.stage_ended))
            .where(
                ROLLOUTS.c.strategy_id == self._strategy_id,
                ROLLOUTS.c.state.in_([RolloutState.ROLLING_BACK, RolloutState.ROLLED_BACK]),
            )
            .group_by(ROLLOUTS.c.is_faulty)
        )
        with database.reading(self._engine) as connection:
            found = connection.execute(query).all()
        counts = {CANDIDATE if is_faulty else OTHER: count for is_faulty, count, _ in found}
        return counts, max((at for _, _, at in found if at is not None), default=None)
