"""Reads a page in Prometheus's text format, as a scraper would."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from autotrader.domain.errors import BadData

_SAMPLE = re.compile(
    r"(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)"
    r"(?:\{(?P<labels>.*)\})?"
    r"\s+(?P<value>[^\s]+)(?:\s+-?\d+)?"
)
_LABEL = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')


@dataclass(frozen=True, slots=True)
class Sample:
    name: str
    labels: Mapping[str, str]
    value: float


def parse_metrics(page: str) -> list[Sample]:
    """All samples of a page.

    Raises
    ------
    BadData
        If a line is none of the format's, or there is no sample.
    """
    lines = [line.strip() for line in page.splitlines()]
    found = [_sample(line) for line in lines if line and not line.startswith("#")]
    if not found:
        raise BadData("expected metrics, was an empty page")
    return found


def _sample(line: str) -> Sample:
    match = _SAMPLE.fullmatch(line)
    labels = _labels(match["labels"] or "") if match else None
    if match is None or labels is None:
        raise BadData(f"expected a sample in Prometheus's text format, was {line[:80]!r}")
    try:
        value = float(match["value"])
    except ValueError:
        raise BadData(f"expected a number in {line[:80]!r}, was {match['value']!r}") from None
    return Sample(match["name"], labels, value)


def _labels(text: str) -> dict[str, str] | None:
    found: dict[str, str] = {}
    end = 0
    while end < len(text):
        match = _LABEL.match(text, end)
        if match is None:
            return None
        found[match[1]] = match[2]
        end = match.end()
    return found
