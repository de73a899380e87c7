"""The trial ledger: every model ever tried on a data window, failed and pruned ones too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Trial:
    """One model that was tried.

    Attributes
    ----------
    key : str
        Content hash of data window, feature set, labels, family and parameters: the same trial
        run again after a crash is the same trial.
    strategy_id : str
    window_start, window_end : datetime
        Market time of the data that it was judged on, UTC.
    family : str
        `logistic`, `hist_gradient_boosting`, `lightgbm`.
    params : Mapping[str, object]
    state : str
        `complete`, `pruned` or `failed`.
    sharpe : float or None
        Per-period (not annualised) Sharpe ratio of its net returns; None unless complete.
    at : datetime
        Wall time, UTC.
    """

    key: str
    strategy_id: str
    window_start: datetime
    window_end: datetime
    family: str
    params: Mapping[str, object]
    state: str
    sharpe: float | None
    at: datetime
    data: Mapping[str, object] = field(default_factory=dict)


@runtime_checkable
class TrialLedger(Protocol):
    def record(self, trial: Trial) -> bool:
        """Append; False if a trial of that key is there already."""
        ...

    def overlapping(self, strategy_id: str, start: datetime, end: datetime) -> Sequence[Trial]:
        """All trials whose window shares an instant with [start, end)."""
        ...
