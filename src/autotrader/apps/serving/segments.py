"""The files of the prediction log: frames with checksums, whose torn end shows.

A segment is a sequence of frames: `length, ~length, CRC-32 of the payload` (12 bytes, little
endian), then the payload. The first frame's payload is the header (JSON); each further one is a
record: what one request asked and was answered. A process that dies in the middle of a write leaves
a frame that is shorter than it says, at the very end: *torn*. Anything else that does not fit is
*corrupt*.

The writer holds an exclusive `flock` on its segment for as long as it may write to it. The kernel
lets go of it when the process ends, however it ends: a segment that can be locked is finished.
"""

from __future__ import annotations

import fcntl
import json
import struct
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autotrader.domain.errors import BadData
from autotrader.files import TEMPORARY_PREFIX
from autotrader.plain import from_plain

SUFFIX = ".segment"
FORMAT = 1
CLASSES = 3

_FRAME = struct.Struct("<III")
_RECORD = struct.Struct("<qxBHHI")
_MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What all records of a segment share.

    Attributes
    ----------
    model, version, onnx_sha256 : str
        Of what answered.
    interval : str
        Of the bars that the features are of.
    feature_names : tuple of str
        In the order of a record's columns.
    """

    color: str
    model: str
    version: str
    onnx_sha256: str
    feature_set: str
    interval: str
    feature_names: tuple[str, ...]
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Record:
    """One answered request of n rows and f features.

    Attributes
    ----------
    received_at : int
        Wall time, microseconds since 1970, UTC.
    ts : int64[n]
        Opens of the bars, microseconds since 1970, UTC.
    features : float32[n, f]
    probabilities : float32[n, 3]
        Of a fall, neither, a rise.
    """

    request_id: str
    instrument: str
    received_at: int
    replayed: bool
    ts: NDArray[np.int64]
    features: NDArray[np.float32]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scan:
    """How far a segment could be read.

    Attributes
    ----------
    records : list of Record
    end : int
        Offset behind the last of them: where to read on.
    torn : bool
        The file ends within a frame.
    corrupt : str or None
        What does not fit at `end`.
    """

    records: list[Record]
    end: int
    torn: bool = False
    corrupt: str | None = None


def frame(payload: bytes) -> bytes:
    """The payload with its length and checksum."""
    length = len(payload)
    return _FRAME.pack(length, length ^ _MASK, zlib.crc32(payload)) + payload


def torn_frame(size: int) -> bytes:
    """At least so many bytes that are read as a frame whose end is missing."""
    return _FRAME.pack(size, size ^ _MASK, 0) + bytes(max(0, size - 1))


def encode_header(header: SegmentHeader) -> bytes:
    """The first frame of a segment."""
    return frame(json.dumps(asdict(header)).encode())


def encode_record(
    request_id: str,
    instrument: str,
    received_at: int,
    replayed: bool,
    ts: list[int],
    features: NDArray[np.float32],
    probabilities: NDArray[np.float32],
) -> bytes:
    """A frame of what was asked and answered; see `Record`."""
    name, venue_symbol = request_id.encode(), instrument.encode()
    head = _RECORD.pack(received_at, replayed, len(name), len(venue_symbol), len(ts))
    parts = (head, name, venue_symbol, array("q", ts).tobytes(), features.tobytes(), probabilities.tobytes())
    return frame(b"".join(parts))


def read_header(content: bytes) -> tuple[SegmentHeader, int]:
    """The header, and where the records begin.

    Raises
    ------
    BadData
        If there is none, or of another format.
    """
    try:
        length = _frame_length(content, 0)
        payload = content[_FRAME.size : _FRAME.size + length]
        plain = json.loads(payload)
    except (_Torn, _Corrupt, ValueError) as error:
        raise BadData(f"expected the header of a segment, was none: {error}") from None
    header = from_plain(SegmentHeader, plain)
    if header.format != FORMAT:
        raise BadData(f"expected a segment of format {FORMAT}, was {header.format}: ship it with its version")
    return header, _FRAME.size + length


def scan(content: bytes, header: SegmentHeader, start: int, *, most_rows: int | None = None) -> Scan:
    """Read records from an offset on, until the content, or what fits, ends.

    Parameters
    ----------
    most_rows : int or None
        Stop at the record with which there are so many rows; None reads all.
    """
    records: list[Record] = []
    rows, offset = 0, start
    while offset < len(content) and (most_rows is None or rows < most_rows):
        try:
            length = _frame_length(content, offset)
            record = _decode(content, offset + _FRAME.size, length, len(header.feature_names))
        except _Torn:
            return Scan(records, offset, torn=True)
        except _Corrupt as error:
            return Scan(records, offset, corrupt=f"at byte {offset}: {error}")
        records.append(record)
        rows += len(record.ts)
        offset += _FRAME.size + length
    return Scan(records, offset)


def is_finished(path: Path) -> bool:
    """Whether no process may write to the segment any more."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def find(folder: Path) -> Iterator[Path]:
    """Segments in the folder and in those below, in order of name: of one colour, in order of time."""
    # One that is being begun is nobody's yet: its writer has not locked it.
    found = (path for path in folder.rglob(f"*{SUFFIX}") if not path.name.startswith(TEMPORARY_PREFIX))
    yield from sorted(found, key=lambda p: (p.parent, p.name))


class _Torn(Exception):
    """The content ends within the frame."""


class _Corrupt(Exception):
    """The content is not a frame, or not a record."""


def _frame_length(content: bytes, offset: int) -> int:
    if offset + _FRAME.size > len(content):
        raise _Torn("its end is missing")
    length, complement, checksum = _FRAME.unpack_from(content, offset)
    if length ^ _MASK != complement:
        raise _Corrupt("expected the length of a frame, was something else")
    begin = offset + _FRAME.size
    if begin + length > len(content):
        raise _Torn("its end is missing")
    if zlib.crc32(content[begin : begin + length]) != checksum:
        raise _Corrupt("expected a frame with its checksum, was another")
    return int(length)


def _decode(content: bytes, offset: int, length: int, width: int) -> Record:
    if length < _RECORD.size:
        raise _Corrupt(f"expected a record, was {length} bytes")
    received_at, replayed, name, instrument, rows = _RECORD.unpack_from(content, offset)
    expected = _RECORD.size + name + instrument + rows * (8 + 4 * (width + CLASSES))
    if expected != length:
        raise _Corrupt(f"expected {expected} bytes of {rows} rows, was {length}")
    at = offset + _RECORD.size
    text = content[at : at + name + instrument]
    at += name + instrument
    ts = np.frombuffer(content, "<i8", rows, at)
    features = np.frombuffer(content, "<f4", rows * width, at + 8 * rows).reshape(rows, width)
    probabilities = np.frombuffer(content, "<f4", rows * CLASSES, at + (8 + 4 * width) * rows)
    return Record(
        request_id=text[:name].decode(),
        instrument=text[name:].decode(),
        received_at=received_at,
        replayed=bool(replayed),
        ts=ts,
        features=features,
        probabilities=probabilities.reshape(rows, CLASSES),
    )
