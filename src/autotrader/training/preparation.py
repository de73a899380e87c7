"""Preparing a training set: features and labels of one window, read once and frozen on disk.

Instruments are read one after the other, so that memory is bounded by the largest of them and not
by their number; the matrix is a memory-mapped file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
from numpy.lib.format import open_memmap

from autotrader.config.settings import StrategySettings, TrainingSettings
from autotrader.domain.errors import BadData, ConfigurationError, NotFound
from autotrader.domain.instruments import InstrumentId
from autotrader.execution.arrays import Times
from autotrader.execution.labels import strategy_labels
from autotrader.execution.strategy import decides
from autotrader.training.artifacts import content_key
from autotrader.training.classifiers import CLASSES
from autotrader.training.dataset import (
    BAR,
    FEATURES_FILE,
    ROW,
    ROWS_FILE,
    InstrumentRows,
    PreparedData,
    Rows,
    bars_file,
    content_files,
    content_sha256,
)
from autotrader.training.results import Results
from autotrader.training.retention import pin_owner

if TYPE_CHECKING:
    import polars as pl

    from autotrader.data.bars import BarStore
    from autotrader.features.store.store import FeatureStore

log = structlog.get_logger(__name__)

# The newest rows have no label yet: a horizon, and as long as the market has been closed before.
MARGIN = timedelta(days=4)


def prepare_training_data(
    *,
    bars: BarStore,
    features: FeatureStore,
    instruments: Sequence[InstrumentId],
    strategy: StrategySettings,
    training: TrainingSettings,
    as_of: datetime,
    results: Results,
) -> PreparedData:
    """Freeze the training set of a window that ends at `as_of`.

    The table versions that are read are pinned against vacuum, for an owner named by the key.

    Parameters
    ----------
    bars, features
        Where to read; only what was known at `as_of` is read.
    instruments : sequence of InstrumentId
    strategy, training
        Horizon, costs, window and sampling.
    as_of : datetime
        Market time, UTC. The same instant asked for again, of the same table versions, is the
        same training set: pass the time at which the run began, not the time of the retry.
    results : Results
        The set becomes its `dataset/<key>`.

    Raises
    ------
    NotFound
        If there are no bars or no features yet.
    BadData
        If no row is left, or a class of labels never occurs.
    ConfigurationError
        If history is too short for one training window and one test fold, or they are not what
        could ever fit.
    """
    if training.evaluation_days < training.fold_days:
        raise ConfigurationError(
            f"expected evaluation_days of {training.fold_days} or more, which is one test fold "
            f"(fold_days), was {training.evaluation_days}"
        )
    prepared = freeze_window(
        bars=bars,
        features=features,
        instruments=instruments,
        strategy=strategy,
        sample_every_bars=training.sample_every_bars,
        start=as_of - timedelta(days=training.lookback_days + training.evaluation_days) - MARGIN,
        as_of=as_of,
        results=results,
    )
    _require_history(prepared, training)
    return prepared


def freeze_window(
    *,
    bars: BarStore,
    features: FeatureStore,
    instruments: Sequence[InstrumentId],
    strategy: StrategySettings,
    sample_every_bars: int,
    start: datetime,
    as_of: datetime,
    results: Results,
) -> PreparedData:
    """Freeze features, labels and prices of [start, as_of), as they were known at `as_of`.

    Asked for again of the same table versions, it is the same set, and it is not read again.

    Raises
    ------
    NotFound
        If there are no bars or no features yet.
    BadData
        If no row is left, or a class of labels never occurs.
    """
    feature_set = features.feature_set
    versions = _versions(bars, features)
    key = content_key(
        "dataset 3", sorted(map(str, instruments)), start, as_of, versions, feature_set.version,
        strategy.interval, strategy.horizon_minutes, strategy.round_trip_cost_bps, strategy.labels.rule,
        sample_every_bars,
    )  # fmt: skip
    name = f"dataset/{key}"
    existing = results.stored(name, PreparedData)
    if existing is not None:
        log.info("training data exists", key=key, rows=existing.rows)
        return existing
    owner = pin_owner(key)
    bars.pin(versions["bars"], owner)
    features.pin(versions["features"], owner)

    def read(instrument: InstrumentId) -> tuple[pl.DataFrame, pl.DataFrame]:
        asked: dict[str, Any] = {"interval": strategy.interval, "start": start, "end": as_of, "as_of": as_of}
        columns = ["ts", "open", "close", "volume", "source"]
        return (
            bars.read([instrument], columns=columns, version=versions["bars"], **asked),
            features.training_frame([instrument], version=versions["features"], **asked),
        )

    with results.published(name) as staging:
        kept = _Collection(staging, feature_set.names)
        for instrument in sorted(instruments):
            price, known = read(instrument)
            kept.add(instrument, price, known, strategy=strategy, every=sample_every_bars)
        prepared = kept.merge(
            key=key,
            folder=results.folder / name,
            as_of=as_of,
            strategy=strategy,
            every=sample_every_bars,
            feature_set=feature_set.version,
            feature_lookback=feature_set.lookback,
            versions=versions,
        )
        results.write(staging, prepared)
    log.info("training data prepared", key=key, rows=prepared.rows, left_out=dict(prepared.left_out))
    return results.read(name, PreparedData)


class _Collection:
    """Rows of the instruments added so far, in one pair of files each until they are merged."""

    def __init__(self, staging: Path, names: tuple[str, ...]) -> None:
        self._staging = staging
        self._names = names
        self._counts: list[InstrumentRows] = []
        self._left_out: dict[str, str] = {}
        self._sources: set[str] = set()
        self._seen = np.zeros(len(names), bool)

    def add(
        self,
        instrument: InstrumentId,
        price: pl.DataFrame,
        known: pl.DataFrame,
        *,
        strategy: StrategySettings,
        every: int,
    ) -> None:
        if price.height == 0:
            self._left_out[str(instrument)] = "no bars in the window"
            return
        table = np.empty(price.height, BAR)
        table["ts"] = _naive(price["ts"])
        for name in ("open", "close", "volume"):
            table[name] = price[name].fill_null(np.nan).to_numpy()
        labels = strategy_labels(table["ts"].copy(), table["close"].copy(), strategy=strategy)
        sampled = np.flatnonzero(decides(table["ts"].astype(np.int64), strategy.interval, every))
        bar, feature_row = _matching(table["ts"], sampled, _naive(known["ts"]))
        labelled = labels.valid[bar]
        bar, feature_row = bar[labelled], feature_row[labelled]
        matrix = known.select(self._names)[feature_row].to_numpy().astype(np.float32, copy=False)
        self._seen |= np.isfinite(matrix).any(axis=0)

        number = len(self._counts)
        rows = np.empty(len(bar), ROW)
        rows["ts"], rows["bar"], rows["instrument"] = table["ts"][bar], bar, number
        rows["end_ts"], rows["label"] = labels.end_ts[bar], labels.label[bar]
        rows["forward_return"] = labels.forward_return[bar]
        np.save(self._staging / bars_file(number), table)
        np.save(self._part(number, "rows"), rows)
        np.save(self._part(number, "features"), matrix)
        self._sources.update(price["source"].unique().to_list())
        self._counts.append(
            InstrumentRows(
                instrument=str(instrument),
                bars=price.height,
                sampled=len(sampled),
                without_features=len(sampled) - len(labelled),
                warming_up=0,
                without_label=int((~labelled).sum()),
                rows=len(bar),
            )
        )

    def merge(
        self,
        *,
        key: str,
        folder: Path,
        as_of: datetime,
        strategy: StrategySettings,
        every: int,
        feature_set: str,
        feature_lookback: int,
        versions: Mapping[str, int],
    ) -> PreparedData:
        """One matrix of all instruments, sorted by ts; rows with a missing feature are dropped."""
        parts, counts = [], []
        for number, count in enumerate(self._counts):
            matrix = np.load(self._part(number, "features"), mmap_mode="r")
            complete = np.flatnonzero(np.isfinite(matrix[:, self._seen]).all(axis=1))
            parts.append((np.load(self._part(number, "rows"))[complete], complete))
            missing = count.rows - len(complete)
            counts.append(replace(count, warming_up=missing, rows=len(complete)))
            if len(complete) == 0:
                self._left_out[count.instrument] = _why_none(counts[-1])
        rows = np.concatenate([part for part, _ in parts]) if parts else np.empty(0, ROW)
        if len(rows) == 0:
            raise BadData(f"expected rows to learn from, were none: {self._left_out}")
        order = np.lexsort((rows["instrument"], rows["ts"]))
        rows = rows[order]
        np.save(self._staging / ROWS_FILE, rows)
        target = np.empty(len(rows), np.int64)
        target[order] = np.arange(len(rows))
        whole = open_memmap(
            self._staging / FEATURES_FILE,
            mode="w+",
            dtype=np.float32,
            shape=(len(rows), int(self._seen.sum())),
        )
        offset = 0
        for number, (part, complete) in enumerate(parts):
            matrix = np.load(self._part(number, "features"), mmap_mode="r")
            whole[target[offset : offset + len(part)]] = matrix[complete][:, self._seen]
            offset += len(part)
        whole.flush()
        for number in range(len(self._counts)):
            self._part(number, "rows").unlink()
            self._part(number, "features").unlink()
        classes = tuple(int((rows["label"] == c).sum()) for c in CLASSES)
        if 0 in classes:
            raise BadData(
                f"expected rows of every label (-1, 0, +1), were {classes}: "
                "the round-trip cost does not fit moves of this market over this horizon"
            )
        names = np.array(self._names)
        return PreparedData(
            key=key,
            sha256=content_sha256(content_files(self._staging, len(counts))),
            folder=str(folder),
            first_ts=_utc(rows["ts"][0]),
            last_ts=_utc(rows["ts"][-1]),
            as_of=as_of,
            interval=strategy.interval,
            horizon_minutes=strategy.horizon_minutes,
            round_trip_cost_bps=strategy.round_trip_cost_bps,
            labels=strategy.labels.rule,
            sample_every_bars=every,
            feature_set=feature_set,
            feature_lookback=feature_lookback,
            feature_names=tuple(names[self._seen].tolist()),
            empty_features=tuple(names[~self._seen].tolist()),
            instruments=tuple(counts),
            left_out=self._left_out,
            rows=len(rows),
            class_counts=(classes[0], classes[1], classes[2]),
            sources=tuple(sorted(self._sources)),
            data_versions=versions,
        )

    def _part(self, number: int, what: str) -> Path:
        return self._staging / f"part-{number:05d}-{what}.npy"


def _versions(bars: BarStore, features: FeatureStore) -> dict[str, int]:
    found = {}
    for name, version in (("bars", bars.version()), ("features", features.version())):
        if version is None:
            raise NotFound(f"expected {name} in the lake, were none: run data_pipeline first")
        found[name] = version
    return found


def _matching(bar_ts: Times, sampled: Rows, feature_ts: Times) -> tuple[Rows, Rows]:
    """Of the sampled bars, those with a row of features, and which row that is."""
    if len(feature_ts) == 0:
        return sampled[:0], sampled[:0]
    found = np.minimum(np.searchsorted(feature_ts, bar_ts[sampled]), len(feature_ts) - 1)
    same = feature_ts[found] == bar_ts[sampled]
    return sampled[same], found[same]


def _naive(column: pl.Series) -> Times:
    return column.dt.replace_time_zone(None).dt.cast_time_unit("us").to_numpy()


def _utc(instant: np.datetime64) -> datetime:
    return instant.astype("M8[us]").item().replace(tzinfo=UTC)  # type: ignore[no-any-return]


def _why_none(count: InstrumentRows) -> str:
    return (
        f"no row left of {count.sampled:,} sampled: {count.without_features:,} not in the feature store, "
        f"{count.without_label:,} without a label, {count.warming_up:,} with a missing feature"
    )


def _require_history(prepared: PreparedData, training: TrainingSettings) -> None:
    have = prepared.last_ts - prepared.first_ts
    need = timedelta(days=training.lookback_days + training.fold_days)
    if have < need:
        raise ConfigurationError(
            f"expected {need.days} days of history ({training.lookback_days} to learn from, "
            f"{training.fold_days} to test on), was {have / timedelta(days=1):.1f}: rows with features and "
            f"labels reach from {prepared.first_ts:%Y-%m-%d %H:%M} to {prepared.last_ts:%Y-%m-%d %H:%M}; "
            "load more with data_pipeline's backfill, or lower lookback_days"
        )
