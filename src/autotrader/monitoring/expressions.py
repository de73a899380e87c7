"""What a PromQL expression names, and three faults that pass unseen: a metric that nothing exports, a
counter's function on a gauge (or the other way round), seconds that are shown as milliseconds.

Rules and panels are read by it alike. It is no parser: Prometheus itself says whether the syntax is right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from autotrader.domain.metrics import EXPORTER_METRICS, METRICS, Kind, Metric, Unit
from autotrader.domain.service_levels import recordings

_OF_COUNTERS = frozenset({"rate", "irate", "increase", "resets"})
_OF_GAUGES = frozenset({"delta", "idelta", "deriv", "predict_linear", "holt_winters"})
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
# Strings first: what they hold is neither a matcher nor a range.
_ASIDE = re.compile(r'"(?:[^"\\]|\\.)*"' r"|'(?:[^'\\]|\\.)*'|`[^`]*`")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")

_SERIES: dict[str, Metric] = {
    series: metric for metric in METRICS + EXPORTER_METRICS for series in metric.series
}
_RECORDED = frozenset(recording.name for recording in recordings())


def metrics_of(expression: str) -> frozenset[str]:
    """Names of the series that it reads."""
    bare = _bare(expression)
    return frozenset(
        match.group() for match in _NAME.finditer(bare) if not _is_call(bare, match) and _is_name(match)
    )


def faults_of(expression: str, *, shown: str = "") -> list[str]:
    """What is wrong with it, one sentence a fault.

    Parameters
    ----------
    expression : str
    shown : str
        The unit that its value is shown with, such as `ms`; empty where that is not said.
    """
    return [*_unknown(expression), *_wrong_functions(expression), *_wrong_units(expression, shown)]


def _unknown(expression: str) -> Iterator[str]:
    for name in sorted(metrics_of(expression) - _SERIES.keys() - _RECORDED):
        yield f"expected a metric that something exports, was {name}: see autotrader.domain.metrics"


def _wrong_functions(expression: str) -> Iterator[str]:
    bare = _bare(expression)
    for match in _NAME.finditer(bare):
        function = match.group()
        if function not in _OF_COUNTERS | _OF_GAUGES or not _is_call(bare, match):
            continue
        for name in sorted(metrics_of(_argument(bare, match.end()))):
            metric = _SERIES.get(name)
            if metric is None:
                continue
            grows = metric.kind is not Kind.GAUGE
            if grows is not (function in _OF_COUNTERS):
                wanted = "a counter" if function in _OF_COUNTERS else "a gauge"
                yield f"expected {function}() of {wanted}, was {name}, a {metric.kind.value}"


def _wrong_units(expression: str, shown: str) -> Iterator[str]:
    if shown not in {"ms", "milliseconds"} or re.search(r"\*\s*(?:1000|1e3)\b", expression):
        return
    for name in sorted(metrics_of(expression)):
        if name in _SERIES and _SERIES[name].unit is Unit.SECONDS:
            yield f"expected seconds to be shown as seconds, was {name} in ms: multiply by 1000"


def _bare(expression: str) -> str:
    """Without strings, matchers, ranges and groupings: names of metrics and functions are left."""
    text = _ASIDE.sub('""', expression)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", text)
    return _GROUPING.sub(" ", text)


def _is_call(text: str, match: re.Match[str]) -> bool:
    return text[match.end() :].lstrip().startswith("(") or text[match.start() - 1 : match.start()].isdigit()


def _is_name(match: re.Match[str]) -> bool:
    return match.group().lower() not in _WORDS


def _argument(text: str, start: int) -> str:
    """What stands in the parentheses that open next."""
    begin = text.index("(", start)
    depth = 0
    for position in range(begin, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return text[begin + 1 : position]
    return text[begin + 1 :]
