"""Fair timing on a shared machine: contenders take turns, medians count, one JSON line a measure.

    emit(compare("lake.read", {"ours": read_lake, "file": read_file}, rounds=9))

The first contender is ours; each ratio is the median over rounds of ours / the other in the same
round, so that a machine that is busy for a while slows both. Each round another contender begins:
who runs after what another left in the processor's caches changes from round to round. Garbage is
collected between rounds, never within one: a collection walks the whole heap, and whoever ran next
would be timed with empty caches.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping


def compare(
    name: str,
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 7,
    warmup: int = 1,
    prepare: Callable[[str], object] | None = None,
    settle: int = 0,
    elsewhere: Collection[str] = (),
) -> dict[str, object]:
    """Time the contenders in turns.

    Parameters
    ----------
    name : str
        Name of the measure, such as `lake.upsert_day`.
    contenders : Mapping[str, Callable]
        Label to what is timed; ours first.
    rounds, warmup : int
        Turns that count, and turns before them that do not.
    prepare : Callable or None
        Called with the label before each turn, outside the timing.
    settle : int
        Runs of the contender right before the timed one of each turn: with one or more it finds its
        own data in the caches, as when it is called again and again; with none that of the others.
    elsewhere : collection of str
        Labels of contenders that work in another process, whose processor time is not known here.

    Returns
    -------
    dict
        `name`, `rounds`, `load_average` of the machine, `median_ms`, `best_ms` and, of ours against
        each other, `ratio`; `cpu_ms` and `cpu_ratio` are the same of processor time (user and system,
        all threads), which says less of the machine's other work.
    """
    seconds: dict[str, list[float]] = {label: [] for label in contenders}
    cpu_seconds: dict[str, list[float]] = {label: [] for label in contenders if label not in elsewhere}
    labels = list(contenders)
    for turn in range(warmup + rounds):
        with _garbage_kept():
            for k in range(len(labels)):
                label = labels[(turn + k) % len(labels)]
                if prepare is not None:
                    prepare(label)
                for _ in range(settle):
                    contenders[label]()
                begin, used = time.perf_counter(), time.process_time()
                contenders[label]()
                elapsed, used = time.perf_counter() - begin, time.process_time() - used
                if turn >= warmup:
                    seconds[label].append(elapsed)
                    if label not in elsewhere:
                        cpu_seconds[label].append(used)
    return {
        "name": name,
        "rounds": rounds,
        "load_average": round(os.getloadavg()[0], 1),
        "median_ms": {label: _ms(statistics.median(taken)) for label, taken in seconds.items()},
        "best_ms": {label: _ms(min(taken)) for label, taken in seconds.items()},
        "cpu_ms": {label: _ms(statistics.median(used)) for label, used in cpu_seconds.items()},
        "ratio": _ratios(seconds),
        "cpu_ratio": _ratios(cpu_seconds),
    }


def _ratios(taken: Mapping[str, list[float]]) -> dict[str, float]:
    """Of the first contender to each other, round by round."""
    ours, *others = taken
    return {
        f"{ours}/{label}": round(
            statistics.median(a / b for a, b in zip(taken[ours], taken[label], strict=True)), 4
        )
        for label in others
    }


def emit(measure: Mapping[str, object]) -> None:
    """Print the measure as one JSON line."""
    print(json.dumps(measure), flush=True)


@contextlib.contextmanager
def _garbage_kept() -> Iterator[None]:
    """Collect now, and not again until the end of the block."""
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 4)
