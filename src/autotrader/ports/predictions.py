"""What a caller asks of whoever is live, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from autotrader.domain.rollout import Color

# Names the colour that a caller wants; both may be behind one address.
COLOR_HEADER = "X-Autotrader-Color"


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """Rows of features of one instrument.

    Attributes
    ----------
    request_id : str
        The caller's; one answer is acted on.
    instrument : str
        `venue:symbol`.
    feature_set : str
    ts : sequence of datetime, one a row
        Opens of the bars that the features are of; market time, ascending.
    rows : sequence of sequence of float
        Features in the order of `feature_names`; without those, in the model's.
    replayed : bool
        Nobody acts on the answer.
    """

    request_id: str
    instrument: str
    feature_set: str
    ts: Sequence[datetime]
    rows: Sequence[Sequence[float]]
    feature_names: Sequence[str] | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Prediction:
    """The owner's answer, given in the epoch in which it owns the instrument.

    Attributes
    ----------
    color, version, epoch
        Who answered, and as what.
    probabilities : tuple of (down, flat, up), one a row
    seconds : float
        Until the answer was whole.
    """

    request_id: str
    instrument: str
    color: Color
    version: str
    epoch: int
    probabilities: tuple[tuple[float, float, float], ...]
    seconds: float

    @property
    def scores(self) -> tuple[float, ...]:
        """Probability of a rise minus that of a fall, one a row."""
        return tuple(up - down for down, _, up in self.probabilities)


@runtime_checkable
class Predictor(Protocol):
    """Predictions to act on."""

    async def predict(self, request: PredictionRequest) -> Prediction:
        """Ask whoever owns the instrument.

        Raises
        ------
        Refused
            If nobody does: there is no prediction to act on.
        Rejected
            If the owner does not take the request: another of the kind will fail, too.
        Unreachable
            If the owner gave no usable answer in several tries.
        """
        ...


@runtime_checkable
class ImmediatePredictor(Predictor, Protocol):
    """One in this process, which waits for nobody."""

    def answer(self, request: PredictionRequest) -> Prediction:
        """As `predict`, at once."""
        ...
