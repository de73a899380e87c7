"""Records of a prediction log; imports little, since processes that are to be killed use it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autotrader.apps.serving import segments
from autotrader.apps.serving.segments import SegmentHeader, encode_record

HEADER = SegmentHeader("blue", "m", "v1.2.3", "ab" * 32, "balanced-v1", "1m", ("a", "b"))


def record(number: int, rows: int = 1) -> bytes:
    ts = [1_709_251_200_000_000 + n for n in range(rows)]
    features = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2) + number
    probabilities = np.full((rows, 3), 1 / 3, np.float32)
    return encode_record(f"r{number}", "binance:BTCUSDT", 7, number % 2 == 1, ts, features, probabilities)


def read(path: Path) -> segments.Scan:
    content = path.read_bytes()
    header, begin = segments.read_header(content)
    assert header == HEADER
    return segments.scan(content, header, begin)
