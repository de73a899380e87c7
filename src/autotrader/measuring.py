"""Decorators for code of your own: how long it takes, how often it is called, where it is in a trace.

    @track_execution_time("pricing_seconds", "One instrument priced")
    @count_calls("pricing_calls_total", "Instruments priced")
    @trace_operation("price")
    def price(...): ...

They serve functions and coroutine functions alike, and change neither what these return nor what they
raise. What they measure is on the metrics page of the process that runs the code. The page on adding a
metric (`docs/adding-a-metric.md`) says what else there is to do.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Histogram

from autotrader import tracing

P = ParamSpec("P")
R = TypeVar("R")

OK, ERROR = "ok", "error"
SECONDS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)

REGISTRY = CollectorRegistry()


def track_execution_time(
    name: str, text: str, *, buckets: Sequence[float] = SECONDS
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Time each call, in a histogram with the label `outcome` (ok, error).

    Parameters
    ----------
    name : str
        Ends in `_seconds`. Functions that share it share the histogram.
    text : str
        What is timed, for the reader of the page.
    buckets : sequence of float
        Upper bounds, seconds.

    Raises
    ------
    ValueError
        If the name does not end in its unit.
    """
    if not name.endswith("_seconds"):
        raise ValueError(f"expected a name that ends in _seconds, was {name!r}")
    histogram = _histogram(name, text, tuple(buckets))
    well, badly = histogram.labels(OK), histogram.labels(ERROR)

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        except BaseException:
            badly.observe(time.perf_counter() - begun)
            raise
        well.observe(time.perf_counter() - begun)

    return lambda function: _wrapped(function, around)


def count_calls(name: str, text: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Count calls when they end, with the label `outcome` (ok, error).

    Parameters
    ----------
    name : str
        Ends in `_total`. Functions that share it share the counter.
    text : str

    Raises
    ------
    ValueError
        If the name does not end as a counter's.
    """
    if not name.endswith("_total"):
        raise ValueError(f"expected a name that ends in _total, was {name!r}")
    counter = _counter(name, text)
    well, badly = counter.labels(OK), counter.labels(ERROR)

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        try:
            yield
        except BaseException:
            badly.inc()
            raise
        well.inc()

    return lambda function: _wrapped(function, around)


def trace_operation(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make each call a span, where tracing is on.

    Parameters
    ----------
    name : str
        One of few; never made of values.
    """
    return lambda function: _wrapped(function, lambda: tracing.span(name))


@functools.cache
def _histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(name, text, ["outcome"], buckets=buckets, registry=REGISTRY)


@functools.cache
def _counter(name: str, text: str) -> Counter:
    return Counter(name.removesuffix("_total"), text, ["outcome"], registry=REGISTRY)


def _wrapped(
    function: Callable[P, R], around: Callable[[], AbstractContextManager[object]]
) -> Callable[P, R]:
    if inspect.iscoroutinefunction(function):
        awaited = cast("Callable[P, Awaitable[Any]]", function)

        @functools.wraps(function)
        async def waits(*args: P.args, **kwargs: P.kwargs) -> Any:
            with around():
                return await awaited(*args, **kwargs)

        return cast("Callable[P, R]", waits)

    @functools.wraps(function)
    def calls(*args: P.args, **kwargs: P.kwargs) -> R:
        with around():
            return function(*args, **kwargs)

    return calls
