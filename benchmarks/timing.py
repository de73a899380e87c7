"""Fair timing on a shared machine: contenders take turns, medians count, one JSON line a measure.

    emit(compare("lake.read", {"ours": read_lake, "file": read_file}, rounds=9))

The first contender is ours; each ratio is the median over rounds of ours / the other in the same
round, so that a machine that is busy for a while slows both.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping


def compare(
    name: str,
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 7,
    warmup: int = 1,
    prepare: Callable[[str], object] | None = None,
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

    Returns
    -------
    dict
        `name`, `rounds`, `load_average` of the machine, `median_ms`, `best_ms` and, of ours against
        each other, `ratio`.
    """
    seconds: dict[str, list[float]] = {label: [] for label in contenders}
    for turn in range(warmup + rounds):
        for label, run in contenders.items():
            if prepare is not None:
                prepare(label)
            elapsed = _time_once(run)
            if turn >= warmup:
                seconds[label].append(elapsed)
    ours = next(iter(contenders))
    return {
        "name": name,
        "rounds": rounds,
        "load_average": round(os.getloadavg()[0], 1),
        "median_ms": {label: _ms(statistics.median(taken)) for label, taken in seconds.items()},
        "best_ms": {label: _ms(min(taken)) for label, taken in seconds.items()},
        "ratio": {
            f"{ours}/{label}": round(
                statistics.median(a / b for a, b in zip(seconds[ours], taken, strict=True)), 4
            )
            for label, taken in seconds.items()
            if label != ours
        },
    }


def emit(measure: Mapping[str, object]) -> None:
    """Print the measure as one JSON line."""
    print(json.dumps(measure), flush=True)


def _time_once(run: Callable[[], object]) -> float:
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin
    finally:
        if collecting:
            gc.enable()


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 4)
