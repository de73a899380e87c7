"""What `/predict` takes and gives, and what is said where a request is not that.

There are two forms of one message. JSON is for people and their tools. MessagePack is for programs: rows
and probabilities are one field of float32 each, so that a number costs 4 bytes and no parsing.
What is wrong with a request is said in the same words of either, and always in JSON.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

MSGPACK = b"application/vnd.msgpack"
FLOAT32 = np.dtype("<f4")


class Request(msgspec.Struct, forbid_unknown_fields=True, gc=False, kw_only=True):
    """What both forms of the body of `POST /predict` have.

    Attributes
    ----------
    instrument : str
        `venue:symbol`.
    ts : list of int
        Open of the bar that each row's features are of, microseconds since 1970, UTC.
    replayed : bool
        Sent to compare versions; nobody acts on the answer.
    version : str or None
        Semver that must be the served one.
    """

    request_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    instrument: Annotated[str, msgspec.Meta(max_length=64)]
    feature_set: str
    ts: list[int]
    feature_names: list[str] | None = None
    replayed: bool = False
    version: str | None = None


class JsonRequest(Request, gc=False, kw_only=True):
    """Rows are lists of features, in the model's order or in that of `feature_names`."""

    rows: list[list[float]]


class Packed(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A matrix of float32.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns.
    data : bytes
        Its numbers row by row, little endian, 4 bytes each.
    """

    shape: tuple[int, int]
    data: bytes


class PackedRequest(Request, gc=False, kw_only=True):
    """Columns of the rows are features, in the model's order or in that of `feature_names`."""

    rows: Packed


class PredictAnswer(msgspec.Struct, gc=False):
    """The body of a 200; a row's probabilities are of a fall, neither, a rise."""

    request_id: str
    model: str
    version: str
    color: str
    feature_set: str
    probabilities: list[list[float]] | Packed


class Complaint(msgspec.Struct, omit_defaults=True):
    """The body of any other answer."""

    error: str
    expected: str
    was: str
    id: str | None = None


class Unacceptable(Exception):
    """A request that cannot be answered, and why."""

    def __init__(self, status: int, error: str, *, expected: str, was: str) -> None:
        super().__init__(error)
        self.status = status
        self.complaint = Complaint(error, expected, was)


def pack(matrix: NDArray[np.float32]) -> Packed:
    """The two-dimensional array as it travels."""
    rows, columns = matrix.shape
    return Packed((rows, columns), matrix.astype(FLOAT32, copy=False).tobytes())


@lru_cache(maxsize=64)
def names_msgpack(header: bytes) -> bool:
    """Whether a Content-Type or an Accept names it."""
    return any(part.partition(b";")[0].strip().lower() == MSGPACK for part in header.split(b","))
