"""An incident as a file: all that a trader decided on and with, and what it decided.

A zip of a manifest and the files that it names, each with its digest. Nothing in it is executed when
it is read: JSON, Parquet, and ONNX models.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from autotrader.apps.trader.history import batches_of
from autotrader.command import to_plain
from autotrader.domain.errors import BadData, NotFound
from autotrader.domain.orders import Fill, Order
from autotrader.domain.positions import ClosedTrade
from autotrader.files import SECRET, write_atomically
from autotrader.plain import from_plain
from autotrader.ports.events import Event
from autotrader.ports.trading import EquityPoint, Signal
from autotrader.trading.bars import Batch
from autotrader.trading.checkpoint import Checkpoint

T = TypeVar("T")

FORMAT = 1
MANIFEST = "manifest.json"
BARS, FEATURES = "bars.parquet", "features.parquet"
_MODELS = "models/"
# More than any window that somebody looks at; a file that claims more is not one of ours.
_LARGEST_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Incident:
    """A window of one account.

    Attributes
    ----------
    start, end : datetime
        Asked for; bar opens in [start, end), market time.
    until : datetime
        Bars that opened before are in it, and were dealt with.
    decision_hash : str
        Of all decisions on them, as it was recorded.
    exported_at : datetime
    checkpoints : tuple of Checkpoint
        In order of time; the first is at or before `start`.
    bars : pl.DataFrame
        Columns as `autotrader.apps.trader.history.COLUMNS`. Before the first checkpoint, what
        features look back on; from it on, the bars that the trader dealt with.
    features : pl.DataFrame
        venue, instrument, ts, and a float32 column a feature, of those bars.
    signals, orders, fills, trades, equity, events
        From the first checkpoint on; orders, a day from before it, too.
    models : Mapping[str, bytes]
        ONNX files by version, of all that answered.
    software : Mapping[str, str]
        Versions that the export was made with.
    """

    account: str
    start: datetime
    end: datetime
    until: datetime
    decision_hash: str
    exported_at: datetime
    checkpoints: tuple[Checkpoint, ...]
    bars: pl.DataFrame
    features: pl.DataFrame
    signals: tuple[Signal, ...]
    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]
    trades: tuple[ClosedTrade, ...]
    equity: tuple[EquityPoint, ...]
    events: tuple[Event, ...]
    models: Mapping[str, bytes]
    software: Mapping[str, str]

    @property
    def first(self) -> Checkpoint:
        """Where a replay begins."""
        return self.checkpoints[0]

    def batches(self, checkpoint: Checkpoint, until: datetime) -> Iterator[Batch]:
        """Bars from a checkpoint on that opened before `until`."""
        window = self.bars.filter(pl.col("ts") >= checkpoint.ts, pl.col("ts") < until)
        return batches_of(window, checkpoint.interval)


_LISTS: dict[str, type[Any]] = {
    "checkpoints": Checkpoint,
    "signals": Signal,
    "orders": Order,
    "fills": Fill,
    "trades": ClosedTrade,
    "equity": EquityPoint,
    "events": Event,
}
_FACTS = ("account", "start", "end", "until", "decision_hash", "exported_at", "software")


def write_bundle(incident: Incident, path: Path) -> None:
    """Write the incident, whole or not at all."""
    files = {f"{name}.jsonl": _lines(getattr(incident, name)) for name in _LISTS}
    files |= {BARS: _parquet(incident.bars), FEATURES: _parquet(incident.features)}
    files |= {f"{_MODELS}{version}.onnx": content for version, content in incident.models.items()}
    manifest = {
        "format": FORMAT,
        **{name: to_plain(getattr(incident, name)) for name in _FACTS},
        "terms": to_plain(incident.first.terms),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr(MANIFEST, json.dumps(manifest, indent=2) + "\n")
        for name, content in files.items():
            bundle.writestr(name, content)
    write_atomically(path, packed.getvalue(), mode=SECRET)


def read_bundle(path: Path) -> Incident:
    """Read an incident; every file's digest is checked.

    Raises
    ------
    NotFound
        If there is no such file.
    BadData
        If it is damaged, was changed, or is of a format that this version does not know.
    """
    files = _read(path)
    if MANIFEST not in files:
        raise BadData(f"expected {MANIFEST} in {path}, was none: it is no incident bundle")
    manifest = _json(files.pop(MANIFEST), MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        written = manifest.get("format") if isinstance(manifest, dict) else None
        raise BadData(f"expected a bundle of format {FORMAT}, was {written}: replay it with its own version")
    _require_digests(path, manifest.get("files"), files)
    lists: dict[str, Any] = {name: _read_lines(kind, name, files) for name, kind in _LISTS.items()}
    if not lists["checkpoints"]:
        raise BadData(f"expected a checkpoint in {path}, was none: export it again")
    facts: Any = from_plain(_Facts, {name: manifest.get(name) for name in _FACTS})
    return Incident(
        **{name: getattr(facts, name) for name in _FACTS},
        **lists,
        bars=_frame(files, BARS),
        features=_frame(files, FEATURES),
        models={
            name.removeprefix(_MODELS).removesuffix(".onnx"): content
            for name, content in files.items()
            if name.startswith(_MODELS)
        },
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    account: str
    start: datetime
    end: datetime
    until: datetime
    decision_hash: str
    exported_at: datetime
    software: Mapping[str, str]


def _read(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as bundle:
            if sum(member.file_size for member in bundle.infolist()) > _LARGEST_BYTES:
                raise BadData(f"expected at most {_LARGEST_BYTES} bytes in {path}, were more")
            return {member.filename: bundle.read(member) for member in bundle.infolist()}
    except FileNotFoundError:
        raise NotFound(f"expected an incident bundle at {path}, was no file") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise BadData(f"expected an incident bundle in {path}, was damaged: {error}") from None


def _require_digests(path: Path, named: object, files: Mapping[str, bytes]) -> None:
    if not isinstance(named, dict) or set(named) != set(files):
        raise BadData(f"expected in {path} the files that its manifest names, were others: export it again")
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != named[name]:
            raise BadData(f"expected {name} in {path} as it was exported, was changed: export it again")


def _lines(values: Sequence[object]) -> bytes:
    return "".join(json.dumps(to_plain(value), allow_nan=False) + "\n" for value in values).encode()


def _read_lines(kind: type[T], name: str, files: Mapping[str, bytes]) -> tuple[T, ...]:
    content = files.get(f"{name}.jsonl")
    if content is None:
        raise BadData(f"expected {name}.jsonl in the bundle, was none: export it again")
    plain = [_json(line, f"{name}.jsonl") for line in content.splitlines()]
    return tuple(from_plain(list[kind], plain))  # type: ignore[valid-type]


def _json(content: bytes, name: str) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise BadData(f"expected JSON in {name}, was not: {error}") from None


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _frame(files: Mapping[str, bytes], name: str) -> pl.DataFrame:
    try:
        return pl.read_parquet(io.BytesIO(files[name]))
    except (KeyError, pl.exceptions.PolarsError) as error:
        raise BadData(f"expected {name} in the bundle, was {error}: export it again") from None
