"""The integration tests of a running colour, one function each: what is asked, and what must come back.

A probe returns None if all is well, or a sentence that says what was expected and what came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotrader.deployment.checks.colour import Colour, Reply
from autotrader.deployment.checks.golden import GoldenRow
from autotrader.deployment.checks.metrics_page import parse_metrics
from autotrader.domain.errors import BadData
from autotrader.domain.thresholds import DEPLOYMENT_CHECKS
from autotrader.ports.predictions import COLOR_HEADER

_BOUND = DEPLOYMENT_CHECKS.prediction_difference
_COUNTED = 5
_REQUESTS_OF_EACH = 4
_MISDIRECTED = 421
# A load balancer's, where the other colour is empty.
_NOBODY_THERE = 503

Complaint = str | None


@dataclass(frozen=True, slots=True)
class Load:
    """How hard the probes of speed press.

    Attributes
    ----------
    requests : int
        In a row, of one row each.
    concurrency : int
    p99_seconds : float
        What the 99th percentile of those in a row may be.
    max_rows : int
        That a request may hold, by the service's settings.
    """

    requests: int = DEPLOYMENT_CHECKS.service_requests
    concurrency: int = DEPLOYMENT_CHECKS.concurrency
    p99_seconds: float = DEPLOYMENT_CHECKS.service_p99_seconds
    max_rows: int = 1_000


@dataclass(frozen=True, slots=True)
class Probe:
    """A named probe.

    Attributes
    ----------
    required : bool
        Whether the colour may not go on without it, however many others passed.
    """

    name: str
    ask: Callable[[Colour, Load], Complaint]
    required: bool = False


# ------------------------------------------------------------------ who it is


def health(colour: Colour, _: Load) -> Complaint:
    reply = colour.get("/health")
    release = colour.release
    expected = {
        "ready": True,
        "model": release.model,
        "version": release.version,
        "color": colour.color.value,
        "onnx_sha256": release.onnx_sha256,
        "feature_set": release.feature_set,
    }
    return _status(reply, 200) or _fields(reply, expected)


def answers_name_their_source(colour: Colour, _: Load) -> Complaint:
    body = colour.body(_first(colour))
    reply = colour.post(body)
    expected = {
        "request_id": body["request_id"],
        "model": colour.release.model,
        "version": colour.release.version,
        "color": colour.color.value,
        "feature_set": colour.release.feature_set,
    }
    return _status(reply, 200) or _fields(reply, expected)


# ------------------------------------------------------------------ what it predicts


def golden_predictions(colour: Colour, _: Load) -> Complaint:
    if colour.golden.onnx_sha256 != colour.release.onnx_sha256:
        digests = f"{colour.release.onnx_sha256[:12]}, was of {colour.golden.onnx_sha256[:12]}"
        return f"expected golden predictions of {digests}: run the pre-deploy checks again"
    for rows in colour.rows_by_instrument().values():
        for row in rows:
            complaint = _compare(colour.predict([row]), [row])
            if complaint:
                return f"{row.instrument} at {row.ts}: {complaint}"
    return None


def many_rows_equal_single_rows(colour: Colour, _: Load) -> Complaint:
    for instrument, rows in colour.rows_by_instrument().items():
        complaint = _compare(colour.predict(rows), rows)
        if complaint:
            return f"{instrument}, {len(rows)} rows at once: {complaint}"
    return None


def features_in_another_order(colour: Colour, _: Load) -> Complaint:
    (row,) = _first(colour)
    names = list(reversed(colour.golden.feature_names))
    reply = colour.predict([row], feature_names=names, rows=[list(reversed(row.row))])
    return _compare(reply, [row])


def probabilities_are_probabilities(colour: Colour, _: Load) -> Complaint:
    for rows in colour.rows_by_instrument().values():
        reply = colour.predict(rows)
        found = _probabilities(reply)
        if reply.status != 200 or found is None:
            return f"expected probabilities, was {reply.shown}"
        low, high = float(np.min(found)), float(np.max(found))
        if not (low >= 0 and high <= 1):
            return f"expected probabilities from 0 to 1, was {low:g} to {high:g}"
        worst = float(np.abs(found.sum(axis=1) - 1).max())
        if worst > DEPLOYMENT_CHECKS.row_sum_difference:
            return f"expected rows that sum to 1, was off by {worst:.1e}"
        score = found[:, 2] - found[:, 0]
        if not (np.abs(score) <= 1).all():
            return f"expected scores from -1 to 1, was {score.tolist()}"
    return None


# ------------------------------------------------------------------ what it refuses


def no_token(colour: Colour, _: Load) -> Complaint:
    return _status(colour.post(colour.body(_first(colour)), token=None), 401)


def another_token(colour: Colour, _: Load) -> Complaint:
    return _status(colour.post(colour.body(_first(colour)), token="not-the-token"), 401)  # noqa: S106


def another_color(colour: Colour, _: Load) -> Complaint:
    """What names the other colour is turned away, or led to it: never answered as if it had not."""
    other = colour.color.other.value
    reply = colour.post(colour.body(_first(colour)), headers={COLOR_HEADER: other})
    if reply.status in (_MISDIRECTED, _NOBODY_THERE):
        return None
    return _status(reply, 200) or _fields(reply, {"color": other})


def another_version(colour: Colour, _: Load) -> Complaint:
    return _refused(colour.predict(_first(colour), version="v0.0.0"), colour.release.version)


def its_own_version(colour: Colour, _: Load) -> Complaint:
    rows = _first(colour)
    return _compare(colour.predict(rows, version=colour.release.version), rows)


def another_feature_set(colour: Colour, _: Load) -> Complaint:
    return _refused(colour.predict(_first(colour), feature_set="none-v0"), colour.release.feature_set)


def too_few_features(colour: Colour, _: Load) -> Complaint:
    (row,) = _first(colour)
    return _refused(colour.predict([row], rows=[list(row.row[:-1])]), str(len(row.row)))


def too_many_features(colour: Colour, _: Load) -> Complaint:
    (row,) = _first(colour)
    return _refused(colour.predict([row], rows=[[*row.row, 0.0]]), str(len(row.row)))


def an_unknown_feature(colour: Colour, _: Load) -> Complaint:
    names = [*colour.golden.feature_names[:-1], "no_such_feature"]
    return _refused(colour.predict(_first(colour), feature_names=names))


def a_value_that_is_missing(colour: Colour, _: Load) -> Complaint:
    (row,) = _first(colour)
    return _refused(colour.predict([row], rows=[[None, *row.row[1:]]]))


def a_value_that_is_not_a_number(colour: Colour, _: Load) -> Complaint:
    (row,) = _first(colour)
    return _refused(colour.predict([row], rows=[[float("nan"), *row.row[1:]]]))


def a_value_beyond_float32(colour: Colour, _: Load) -> Complaint:
    (row,) = _first(colour)
    return _refused(colour.predict([row], rows=[[1e39, *row.row[1:]]]))


def times_that_do_not_fit_the_rows(colour: Colour, _: Load) -> Complaint:
    (row,) = _first(colour)
    return _refused(colour.predict([row], ts=[row.ts, row.ts]))


def no_rows(colour: Colour, _: Load) -> Complaint:
    return _refused(colour.predict(_first(colour), rows=[], ts=[]))


def what_is_no_json(colour: Colour, _: Load) -> Complaint:
    return _refused(colour.post("{not json"))


def too_many_rows(colour: Colour, load: Load) -> Complaint:
    (row,) = _first(colour)
    return _status(colour.predict([row] * (load.max_rows + 1)), 413)


def an_unknown_path(colour: Colour, _: Load) -> Complaint:
    return _status(colour.get("/no-such-page"), 404)


# ------------------------------------------------------------------ how it stands


def metrics_count_requests(colour: Colour, _: Load) -> Complaint:
    before = _answered(colour)
    for _number in range(_COUNTED):
        reply = colour.predict(_first(colour))
        if reply.status != 200:
            return f"expected 200 to count, was {reply.shown}"
    counted = _answered(colour) - before
    if counted < _COUNTED:
        return f"expected http_requests_total of /predict to grow by {_COUNTED}, was by {counted:g}"
    return None


def latency(colour: Colour, load: Load) -> Complaint:
    rows, seconds = colour.golden.rows, []
    for number in range(load.requests):
        begin = time.perf_counter()
        reply = colour.predict([rows[number % len(rows)]])
        seconds.append(time.perf_counter() - begin)
        if reply.status != 200 or _probabilities(reply) is None:
            return f"expected probabilities, was {reply.shown} at request {number + 1}"
    p99 = float(np.quantile(seconds, 0.99))
    if p99 > load.p99_seconds:
        return f"expected p99 of {load.p99_seconds * 1e3:g} ms at most, was {p99 * 1e3:.1f} ms"
    return None


def concurrent_requests(colour: Colour, load: Load) -> Complaint:
    rows = colour.golden.rows
    asked = [rows[i % len(rows)] for i in range(load.concurrency * _REQUESTS_OF_EACH)]
    with ThreadPoolExecutor(load.concurrency) as pool:
        complaints = [c for c in pool.map(lambda r: _compare(colour.predict([r]), [r]), asked) if c]
    if complaints:
        return (
            f"{len(complaints)} of {len(asked)} went wrong with {load.concurrency} at once: {complaints[0]}"
        )
    return None


# Required is what a caller would act on wrongly, or would be harmed by: the rest is counted.
PROBES = (
    Probe("health", health, required=True),
    Probe("answers_name_their_source", answers_name_their_source, required=True),
    Probe("golden_predictions", golden_predictions, required=True),
    Probe("many_rows_equal_single_rows", many_rows_equal_single_rows, required=True),
    Probe("features_in_another_order", features_in_another_order),
    Probe("probabilities_are_probabilities", probabilities_are_probabilities, required=True),
    Probe("no_token", no_token, required=True),
    Probe("another_token", another_token, required=True),
    Probe("another_color", another_color, required=True),
    Probe("another_version", another_version, required=True),
    Probe("its_own_version", its_own_version),
    Probe("another_feature_set", another_feature_set, required=True),
    Probe("too_few_features", too_few_features, required=True),
    Probe("too_many_features", too_many_features, required=True),
    Probe("an_unknown_feature", an_unknown_feature),
    Probe("a_value_that_is_missing", a_value_that_is_missing, required=True),
    Probe("a_value_that_is_not_a_number", a_value_that_is_not_a_number, required=True),
    Probe("a_value_beyond_float32", a_value_beyond_float32),
    Probe("times_that_do_not_fit_the_rows", times_that_do_not_fit_the_rows),
    Probe("no_rows", no_rows),
    Probe("what_is_no_json", what_is_no_json),
    Probe("too_many_rows", too_many_rows),
    Probe("an_unknown_path", an_unknown_path),
    Probe("metrics_count_requests", metrics_count_requests),
    Probe("latency", latency, required=True),
    Probe("concurrent_requests", concurrent_requests, required=True),
    Probe("health_after_all_that", health, required=True),
)


def _first(colour: Colour) -> list[GoldenRow]:
    return [colour.golden.rows[0]]


def _status(reply: Reply, expected: int) -> Complaint:
    return None if reply.status == expected else f"expected {expected}, was {reply.shown}"


def _fields(reply: Reply, expected: dict[str, object]) -> Complaint:
    body = reply.body if isinstance(reply.body, dict) else {}
    wrong = [f"{k} {v}, was {body.get(k)}" for k, v in expected.items() if body.get(k) != v]
    return f"expected {'; '.join(wrong)}" if wrong else None


def _refused(reply: Reply, naming: str = "") -> Complaint:
    """422 that says what was expected, with these words in it, and what came."""
    complaint = _status(reply, 422)
    if complaint:
        return complaint
    body = reply.body if isinstance(reply.body, dict) else {}
    lacking = [name for name in ("error", "expected", "was") if not body.get(name)]
    if lacking:
        return f"expected a 422 with {', '.join(lacking)}, was {reply.shown}"
    if naming not in str(body["expected"]):
        return f"expected a 422 that names {naming}, was {reply.shown}"
    return None


def _compare(reply: Reply, rows: Sequence[GoldenRow]) -> Complaint:
    if reply.status != 200:
        return f"expected 200, was {reply.shown}"
    found = _probabilities(reply)
    expected = np.array([row.probabilities for row in rows])
    if found is None or found.shape != expected.shape:
        return f"expected {len(rows)} rows of three probabilities, was {reply.shown}"
    difference = float(np.abs(found - expected).max())
    if not difference <= _BOUND:
        return f"expected the offline model's probabilities within {_BOUND:.0e}, was off by {difference:.1e}"
    return None


def _probabilities(reply: Reply) -> NDArray[np.float64] | None:
    body = reply.body if isinstance(reply.body, dict) else {}
    try:
        found = np.array(body.get("probabilities"), np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    good = found.ndim == 2 and found.shape[1] == 3 and len(found) > 0
    return found if good else None


def _answered(colour: Colour) -> float:
    """Predictions that the metrics page says were answered.

    Raises
    ------
    BadData
        If there is no such page.
    """
    reply = colour.get("/metrics")
    if reply.status != 200:
        raise BadData(f"expected a page of metrics, was {reply.shown}")
    return sum(
        sample.value
        for sample in parse_metrics(reply.text)
        if sample.name == "http_requests_total"
        and sample.labels.get("endpoint") == "/predict"
        and sample.labels.get("status") == "200"
    )
