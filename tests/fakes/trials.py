"""A trial ledger that forgets with the process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from autotrader.ports.trials import Trial


class InMemoryTrialLedger:
    def __init__(self) -> None:
        self.trials: dict[str, Trial] = {}

    def record(self, trial: Trial) -> bool:
        if trial.key in self.trials:
            return False
        self.trials[trial.key] = trial
        return True

    def overlapping(self, strategy_id: str, start: datetime, end: datetime) -> Sequence[Trial]:
        return [
            t
            for t in self.trials.values()
            if t.strategy_id == strategy_id and t.window_start < end and t.window_end > start
        ]
