"""Reads the bodies of `/predict`, and says exactly what is wrong with those that it refuses."""

from __future__ import annotations

import re
import struct
from collections import Counter
from functools import lru_cache
from itertools import chain

import msgspec
import numpy as np
from numpy.typing import NDArray

from autotrader.apps.serving.wire import FLOAT32, JsonRequest, Packed, PackedRequest, Request, Unacceptable
from autotrader.domain.instruments import InstrumentId

# Opens of bars before 2000 or after 2100 are seconds, milliseconds or nanoseconds by mistake.
_FIRST_TS = 946_684_800_000_000
_LAST_TS = 4_102_444_800_000_000
_LARGEST = float(np.finfo(np.float32).max)

_MISMATCH = re.compile(r"Expected (?P<expected>[^,]+)(?:, got (?P<was>.+))?")
_UNKNOWN = re.compile(r"Object contains unknown field (?P<name>.+)")
_MISSING = re.compile(r"Object missing required field (?P<name>.+)")


class PredictDecoder:
    """Reads and checks request bodies for one model.

    Parameters
    ----------
    version, feature_set : str
        That are served.
    feature_names : tuple of str
        The model's, in its order.
    max_rows : int
    """

    def __init__(
        self, *, version: str, feature_set: str, feature_names: tuple[str, ...], max_rows: int
    ) -> None:
        self._version = version
        self._feature_set = feature_set
        self._names = feature_names
        self._max_rows = max_rows
        self._json = msgspec.json.Decoder(JsonRequest)
        self._msgpack = msgspec.msgpack.Decoder(PackedRequest)

    @property
    def max_bytes(self) -> int:
        """Of a body: as many rows as are allowed, every number written out in JSON in full."""
        return 65_536 + self._max_rows * (26 * len(self._names) + 24)

    def decode_json(self, body: bytes) -> tuple[Request, NDArray[np.float32]]:
        """The request, and its rows in the model's order: float32[n, f], all finite.

        Raises
        ------
        Unacceptable
            413 for too many rows, 422 for anything else that is not as it should be.
        """
        try:
            request = self._json.decode(body)
        except msgspec.ValidationError as error:
            raise _mismatch(error) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unacceptable(422, "not JSON", expected="a JSON object", was=str(error)) from None
        self._check(request, len(request.rows))
        order = self._order(request.feature_names)
        width = len(self._names)
        for number, row in enumerate(request.rows):
            if len(row) != width:
                raise _wrong(f"rows[{number}]", f"{width} features of {self._feature_set}", str(len(row)))
        # JSON has no NaN and no infinity, and the decoder refuses what no float64 holds: left is what
        # no float32 holds, which `pack` refuses. It takes a fifth of the time of numpy's conversion.
        try:
            packed = _packer(rows := len(request.rows), width).pack(*chain.from_iterable(request.rows))
        except (OverflowError, struct.error):
            place = next(
                (r, c) for r, row in enumerate(request.rows) for c, v in enumerate(row) if abs(v) > _LARGEST
            )
            raise self._not_finite(request, *place, request.rows[place[0]][place[1]]) from None
        return request, _ordered(np.frombuffer(packed, np.float32).reshape(rows, width), order)

    def decode_msgpack(self, body: bytes) -> tuple[Request, NDArray[np.float32]]:
        """As `decode_json`."""
        try:
            request = self._msgpack.decode(body)
        except msgspec.ValidationError as error:
            raise _mismatch(error) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unacceptable(
                422, "not MessagePack", expected="a map of MessagePack", was=str(error)
            ) from None
        rows, width = request.rows.shape
        self._check(request, rows)
        order = self._order(request.feature_names)
        if width != len(self._names):
            raise _wrong("rows.shape[1]", f"{len(self._names)} features of {self._feature_set}", str(width))
        size = rows * width * FLOAT32.itemsize
        if len(request.rows.data) != size:
            raise _wrong("rows.data", f"{size} bytes of {rows} rows", str(len(request.rows.data)))
        features = np.frombuffer(request.rows.data, FLOAT32).reshape(rows, width)
        finite = np.isfinite(features)
        if np.count_nonzero(finite) != features.size:
            row, column = map(int, np.argwhere(~finite)[0])
            raise self._not_finite(request, row, column, float(features[row, column]))
        return request, _ordered(features, order)

    def _check(self, request: Request, rows: int) -> None:
        if request.feature_set != self._feature_set:
            raise _wrong("feature_set", self._feature_set, request.feature_set)
        if request.version is not None and request.version != self._version:
            raise _wrong("version", self._version, request.version)
        try:
            _parse_instrument(request.instrument)
        except ValueError as error:
            expected = str(error).removeprefix("expected ").partition(", was")[0]
            raise _wrong("instrument", expected, repr(request.instrument)) from None
        if rows > self._max_rows:
            raise Unacceptable(413, "too many rows", expected=f"at most {self._max_rows}", was=str(rows))
        if rows < 1:
            raise _wrong("rows", "at least one", "none" if rows == 0 else str(rows))
        if len(request.ts) != rows:
            raise _wrong("ts", f"one for each of {rows} rows", str(len(request.ts)))
        if min(request.ts) < _FIRST_TS or max(request.ts) > _LAST_TS:
            outside = next(t for t in request.ts if not _FIRST_TS <= t <= _LAST_TS)
            raise _wrong("ts", "microseconds since 1970 of 2000 to 2100", str(outside))

    def _not_finite(self, request: Request, row: int, column: int, was: float) -> Unacceptable:
        names = request.feature_names or self._names
        return _wrong(f"rows[{row}][{column}] ({names[column]})", "a finite float32", repr(was))

    def _order(self, given: list[str] | None) -> list[int] | None:
        """Where the model's columns are among the given ones; None where they are as the model's."""
        if given is None or tuple(given) == self._names:
            return None
        unknown = [n for n in given if n not in self._names]
        missing = [n for n in self._names if n not in given]
        twice = [n for n, times in Counter(given).items() if times > 1]
        wrong = [
            f"{what} {_listed(names)}"
            for what, names in (("unknown", unknown), ("missing", missing), ("twice", twice))
            if names
        ]
        if wrong:
            expected = f"the {len(self._names)} of {self._feature_set}, each once"
            raise _wrong("feature_names", expected, "; ".join(wrong))
        return [given.index(name) for name in self._names]


def _ordered(features: NDArray[np.float32], order: list[int] | None) -> NDArray[np.float32]:
    return features if order is None else np.ascontiguousarray(features[:, order])


@lru_cache(maxsize=1024)
def _packer(rows: int, width: int) -> struct.Struct:
    return struct.Struct(f"={rows * width}f")


@lru_cache(maxsize=4096)
def _parse_instrument(text: str) -> InstrumentId:
    return InstrumentId.parse(text)


def _listed(names: list[str]) -> str:
    shown = [name[:64] for name in names[:5]]
    return ", ".join(shown) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _wrong(what: str, expected: str, was: str) -> Unacceptable:
    return Unacceptable(422, f"wrong {what}", expected=expected, was=was[:200])


def _mismatch(error: msgspec.ValidationError) -> Unacceptable:
    """What msgspec found, in our words: `Expected `float`, got `null` - at `$.rows[0][3]``."""
    text, _, place = str(error).replace("`", "").partition(" - at ")
    what = place.removeprefix("$").removeprefix(".") or "body"
    if unknown := _UNKNOWN.fullmatch(text):
        known = (Packed if what == "rows" else JsonRequest).__struct_fields__
        expected = ", ".join(known)
        return Unacceptable(422, f"unknown field in {what}", expected=expected, was=unknown["name"][:200])
    if missing := _MISSING.fullmatch(text):
        return Unacceptable(422, f"missing field in {what}", expected=missing["name"], was="absent")
    if mismatch := _MISMATCH.fullmatch(text):
        return _wrong(what, mismatch["expected"], mismatch["was"] or "another")
    return _wrong(what, "a value as documented", text)
