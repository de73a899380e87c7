"""The trial ledger in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from autotrader.command import to_plain
from autotrader.db.engine import reading
from autotrader.db.inserts import insert_new
from autotrader.db.tables import TRIALS
from autotrader.domain.bars import require_utc
from autotrader.ports.trials import Trial


class SqlTrialLedger:
    """Append-only: a trial that was made cannot be unmade."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, trial: Trial) -> bool:
        row = asdict(trial) | {"params": to_plain(trial.params), "data": to_plain(trial.data)}
        with self._engine.begin() as connection:
            return insert_new(connection, TRIALS, row)

    def overlapping(self, strategy_id: str, start: datetime, end: datetime) -> Sequence[Trial]:
        query = (
            sa.select(TRIALS)
            .where(
                TRIALS.c.strategy_id == strategy_id,
                TRIALS.c.window_end > require_utc(start, name="start"),
                TRIALS.c.window_start < require_utc(end, name="end"),
            )
            .order_by(TRIALS.c.at, TRIALS.c.id)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return [Trial(**{k: v for k, v in row.items() if k != "id"}) for row in rows]
