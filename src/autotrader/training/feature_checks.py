"""Do the values that the model learnt from come from the past alone, and does live trading see the same?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autotrader.domain.instruments import InstrumentId
from autotrader.training.dataset import Dataset

if TYPE_CHECKING:
    from autotrader.data.bars import BarStore

_MAXIMUM_INSTRUMENTS = 8
_ROWS_PER_INSTRUMENT = 16
_LOOKBACKS_SEARCHED = 4
_CUTS = 3
_ROWS_REPLAYED = 1_000
_NOTHING_ALIKE = 2.0  # the greatest relative difference that two numbers can have


@dataclass(frozen=True, slots=True)
class FeatureChecks:
    """What was found on up to 8 instruments of the training set, drawn by its digest.

    Attributes
    ----------
    leaks : tuple of str
        Features of which a value changed when later bars did.
    leakage_statement : str
    parity_difference : float or None
        Largest relative difference of the live path from a value that the model learnt from, or
        from the batch path; in [0, 2], and 2 where one of them has no value. None if nothing could
        be compared.
    parity_statement : str
    """

    leaks: tuple[str, ...]
    leakage_statement: str
    parity_difference: float | None
    parity_statement: str


def check_features(data: Dataset, bars: BarStore) -> FeatureChecks:
    """Compute features again from the bars, in ways that cannot see the future.

    Sampled rows of the training matrix are computed by the live path from the bars up to each row
    alone: a value that used a later bar, was stored wrongly or belongs to another row shows. Then
    later bars are removed, changed and shuffled, which must change no value; and the newest bars
    are replayed through the live path and compared with the batch path.

    Parameters
    ----------
    data : Dataset
    bars : BarStore
        Read as it was when the data was prepared.
    """
    from autotrader.features.batch import compute
    from autotrader.features.definitions import BALANCED
    from autotrader.features.leakage import find_leaks
    from autotrader.features.parity import compare_live_to_batch

    prepared = data.prepared
    generator = np.random.default_rng(int(prepared.sha256[:8], 16))
    with_rows = [i for i, instrument in enumerate(prepared.instruments) if instrument.rows]
    chosen = sorted(generator.permutation(with_rows)[:_MAXIMUM_INSTRUMENTS].tolist())
    leaks: set[str] = set()
    treatments, compared, replayed, worst = 0, 0, 0, 0.0
    for number in chosen:
        source = _bars(data, bars, number)
        own = np.flatnonzero((data.instrument == number) & (data.bar >= prepared.feature_lookback - 1))
        sample = np.sort(generator.permutation(own)[:_ROWS_PER_INSTRUMENT])
        worst = max(worst, _difference_from_matrix(data, source, sample))
        compared += len(sample)
        newest = source.tail(_LOOKBACKS_SEARCHED * prepared.feature_lookback)
        search = find_leaks(compute, newest, names=BALANCED.names, cuts=_CUTS)
        leaks |= {leak.feature for leak in search.leaks}
        treatments += search.comparisons
        replay = compare_live_to_batch(source.tail(prepared.feature_lookback + _ROWS_REPLAYED))
        worst = max(worst, min(replay.largest, _NOTHING_ALIKE))
        replayed += replay.rows
    return FeatureChecks(
        leaks=tuple(sorted(leaks)),
        leakage_statement=f"{', '.join(sorted(leaks)) or 'no feature'} changed when later bars were removed, "
        f"changed or shuffled ({treatments} times on {len(chosen)} instruments)",
        parity_difference=worst if compared else None,
        parity_statement=f"{compared} rows of the training matrix computed again by the live path from the "
        f"bars until each of them, and {replayed:,} bars replayed beside the batch path",
    )


def _bars(data: Dataset, bars: BarStore, number: int) -> pl.DataFrame:
    """One instrument's bars, as they were when the data was prepared; rows as in `data.bars`."""
    from autotrader.features.batch import INPUTS

    prepared = data.prepared
    return bars.read(
        [InstrumentId.parse(prepared.instruments[number].instrument)],
        interval=prepared.interval,
        start=data.bars(number).ts[0].astype("M8[us]").item().replace(tzinfo=UTC),
        end=prepared.as_of,
        columns=["interval", "ts", *INPUTS],
        as_of=prepared.as_of,
        version=prepared.data_versions["bars"],
    )


def _difference_from_matrix(data: Dataset, source: pl.DataFrame, rows: NDArray[np.int64]) -> float:
    from autotrader.features.batch import INPUTS
    from autotrader.features.definitions import BALANCED
    from autotrader.features.live import newest_features

    prepared = data.prepared
    columns = [BALANCED.names.index(name) for name in prepared.feature_names]
    ts = source["ts"].dt.epoch("us").to_numpy()
    inputs = np.vstack([source[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in INPUTS])
    worst = 0.0
    for row in rows:
        stop = int(np.searchsorted(ts, data.ts[row].astype(np.int64))) + 1
        window = slice(max(stop - prepared.feature_lookback, 0), stop)
        live = newest_features(ts[window], inputs[:, window], prepared.interval)[columns]
        worst = max(worst, _relative_difference(data.features[row], live))
    return worst


def _relative_difference(stored: NDArray[np.float32], live: NDArray[np.float32]) -> float:
    a, b = stored.astype(np.float64), live.astype(np.float64)
    scale = np.maximum(np.maximum(np.abs(a), np.abs(b)), np.finfo(np.float32).tiny)
    return float(np.max(np.nan_to_num(np.abs(a - b) / scale, nan=_NOTHING_ALIKE)))
