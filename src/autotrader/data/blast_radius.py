"""What was derived from bars: rows of other tables, and models."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.domain.bars import parse_utc
from autotrader.domain.errors import DependencyError
from autotrader.domain.instruments import InstrumentId
from autotrader.ports.holds import Hold
from autotrader.ports.registry import ModelRegistry, ModelVersion

# Tags of a version that say which bars it was trained and judged on: first and last open (ISO,
# UTC), and instruments (`venue:symbol`, separated by spaces).
WINDOW_TAGS = ("data_start", "data_end", "instruments")

_NOT_DERIVED = {"bars", "bars_history", "quarantine"}
_RECORDS = "_derived"  # of what features were derived from: a row a day


@dataclass(frozen=True, slots=True)
class AffectedModel:
    """A model version that saw the bars, or may have.

    Attributes
    ----------
    certain : bool
        False if the version does not say which bars it saw.
    """

    version: str
    status: str
    certain: bool


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """What hangs on the bars that a hold covers.

    Attributes
    ----------
    bars : dict
        Instrument to number of standing bars that the hold covers.
    derived_rows : dict
        Table to number of rows that were computed from them, with a look-back after the window.
    models : tuple of AffectedModel
    models_unknown : str or None
        Why the registry could not be asked.
    """

    bars: dict[str, int]
    derived_rows: dict[str, int]
    models: tuple[AffectedModel, ...] = field(default=())
    models_unknown: str | None = None

    def lines(self) -> list[str]:
        """In words, for people."""
        unknown = self.models_unknown
        return [
            *(f"  standing bars of {name}: {count}" for name, count in self.bars.items()),
            *(f"  derived rows in {name}: {count}" for name, count in self.derived_rows.items()),
            *(
                f"  model {m.version} ({m.status}) {'saw them' if m.certain else 'does not say what it saw'}"
                for m in self.models
            ),
            *([f"  models: unknown, the registry did not answer: {unknown}"] if unknown else []),
        ]


def measure(
    hold: Hold,
    *,
    lake: Lake,
    bars: BarStore,
    registry: ModelRegistry,
    model_name: str,
    lookback: timedelta,
) -> BlastRadius:
    """What was derived from the bars that the hold covers.

    Parameters
    ----------
    lookback : timedelta
        How long after a bar a derived row may still use it.
    """
    covered = {str(instrument): count for instrument, count in bars.covered(hold).items()}
    derived = {}
    for name in lake.names():
        if name not in _NOT_DERIVED and not name.endswith(_RECORDS):
            derived[name] = lake.open(name).count_range(
                venue=hold.instrument.venue.value if hold.instrument else None,
                instruments=[hold.instrument.symbol] if hold.instrument else None,
                start=hold.start,
                end=hold.end + lookback,
            )
    try:
        versions = registry.list(model_name)
    except DependencyError as error:
        return BlastRadius(covered, derived, models_unknown=str(error))
    models = tuple(
        AffectedModel(v.semver, v.status.value, certain)
        for v in versions
        if (certain := _saw(v, hold)) is not None
    )
    return BlastRadius(covered, derived, models)


def _saw(version: ModelVersion, hold: Hold) -> bool | None:
    """True: it saw the bars; False: it does not say; None: it did not."""
    if any(tag not in version.tags for tag in WINDOW_TAGS):
        return False
    start, end, instruments = (version.tags[tag] for tag in WINDOW_TAGS)
    overlaps: bool = parse_utc(start) < hold.end and parse_utc(end) >= hold.start
    named = {InstrumentId.parse(text) for text in instruments.split()}
    return True if overlaps and (hold.instrument is None or hold.instrument in named) else None
