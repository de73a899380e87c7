"""How often the canary analysis is wrong, and how soon it is right.

Rollouts are resampled from recorded latencies of two identical services that were asked the same
requests at once (`benchmarks/traces/record_latencies.py`), in blocks of random length (stationary
bootstrap, Politis and Romano 1994), so that a stall stays a stall and hits whom it hit. Where errors
are needed without a difference, the slowest answers of each service fail: errors in recorded bursts.

Guards are tried on recorded bars: random positions, net of costs. Prints one JSON line a measure.

    python benchmarks/canary.py            all
    python benchmarks/canary.py 200        that many rollouts a measure
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from features import files
from scipy.stats import beta
from timing import emit

from autotrader.deployment.analysis import HealthObservation, RolloutAnalysis
from autotrader.deployment.analysis.evidence import block_sums, lower_bound, upper_bound
from autotrader.deployment.analysis.guards import sharpe_wealth
from autotrader.deployment.analysis.latency import slow_in_each
from autotrader.deployment.analysis.rates import bound_wealth, comparison_wealth, is_below, signs
from autotrader.deployment.analysis.rollout import bound_block
from autotrader.domain.rollout import FAST, STANDARD, Outcome, Profile
from autotrader.domain.thresholds import CANARY
from autotrader.ports.deployment import Pair, SlotHealth

TRACE = Path(__file__).parent / "traces" / "latencies.npz"
ROLLOUTS = 2_000
CHUNK = 40
# Mean length of a resampled block, in requests: a minute at 10/s, so that a busy spell lasts; 5 s at 100/s.
MEAN_BLOCK = {STANDARD.name: 600, FAST.name: 500}
NEVER = np.iinfo(np.int64).max
PATIENCE_SECONDS = 2.0  # of the recorder: what took as long had no answer


@dataclass(frozen=True)
class Traffic:
    """Rollouts side by side: seconds float32[rollouts, n], failed bool[rollouts, n]; candidate, stable."""

    seconds: tuple[np.ndarray, np.ndarray]
    failed: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Record:
    """What of the record is resampled: its parts, and whether the services keep their roles.

    Roles are exchanged with every resampled block: then the services do not differ. Where they are
    fixed for a rollout, what sets them apart in the few minutes of the record, be it chance, is
    repeated all through it.
    """

    parts: slice = slice(None)
    fixed_roles: bool = False


WHOLE = Record()
QUIET, LOADED = Record(slice(0, 1)), Record(slice(1, 2))  # without and with processes that compute beside

Change = Callable[[Traffic, np.random.Generator], Traffic]


# ------------------------------------------------------------------------------------ traffic


def recorded(profile: Profile) -> list[np.ndarray]:
    with np.load(TRACE) as parts:
        return [
            parts[name] for name in parts.files if name.startswith(f"rate{profile.requests_per_second:g}_")
        ]


def requests(profile: Profile) -> int:
    return int(sum(profile.watch_seconds.values()) * profile.requests_per_second)


def resampled(
    profile: Profile, rollouts: int, random: np.random.Generator, record: Record = WHOLE
) -> Traffic:
    trace = np.concatenate(recorded(profile)[record.parts])
    n = requests(profile)
    begins = random.random((rollouts, n), np.float32) < 1 / MEAN_BLOCK[profile.name]
    begins[:, 0] = True
    position = np.arange(n, dtype=np.int32)
    last = np.maximum.accumulate(np.where(begins, position, 0), axis=1)
    start = random.integers(0, len(trace), (rollouts, n), dtype=np.int32)
    at = (np.take_along_axis(start, last, axis=1) + position - last) % len(trace)
    coin = random.random((rollouts, n), np.float32) < 0.5
    swapped = coin[:, :1] if record.fixed_roles else np.take_along_axis(coin, last, axis=1)
    first, second = trace[:, 0][at], trace[:, 1][at]
    seconds = np.where(swapped, second, first), np.where(swapped, first, second)
    return Traffic(seconds, tuple(each >= PATIENCE_SECONDS for each in seconds))


def as_recorded(traffic: Traffic, _: np.random.Generator) -> Traffic:
    return traffic


def at_the_bound(profile: Profile, share: float) -> Change:
    """Both colours: so slow that this share takes longer than allowed, and the same share fails."""
    usual = float(np.quantile(np.concatenate(recorded(profile)), 1 - share))
    scale = CANARY.latency_seconds / usual

    def change(traffic: Traffic, _: np.random.Generator) -> Traffic:
        slow = tuple(seconds > usual for seconds in traffic.seconds)
        return Traffic(tuple(seconds * np.float32(scale) for seconds in traffic.seconds), slow)

    return change


def scattered_errors(candidate: float, stable: float) -> Change:
    def change(traffic: Traffic, random: np.random.Generator) -> Traffic:
        shape = traffic.seconds[0].shape
        failed = tuple(random.random(shape, np.float32) < rate for rate in (candidate, stable))
        return Traffic(traffic.seconds, failed)

    return change


def bursty_errors(profile: Profile, candidate: float, stable: float) -> Change:
    trace = np.concatenate(recorded(profile))

    def change(traffic: Traffic, _: np.random.Generator) -> Traffic:
        failed = tuple(
            seconds > np.quantile(trace, 1 - rate) if rate else np.zeros(seconds.shape, bool)
            for seconds, rate in zip(traffic.seconds, (candidate, stable), strict=True)
        )
        return Traffic(traffic.seconds, failed)

    return change


def slower(factor: float) -> Change:
    def change(traffic: Traffic, _: np.random.Generator) -> Traffic:
        candidate, stable = traffic.seconds
        return Traffic((candidate * np.float32(factor), stable), traffic.failed)

    return change


def slower_tail(factor: float, share: float) -> Change:
    """Only answers in the slowest share of a rollout take longer: p99 grows, the median does not."""

    def change(traffic: Traffic, _: np.random.Generator) -> Traffic:
        candidate, stable = traffic.seconds
        tail = candidate > np.quantile(candidate, 1 - share, axis=1, keepdims=True)
        return Traffic((np.where(tail, candidate * np.float32(factor), candidate), stable), traffic.failed)

    return change


# ------------------------------------------------------------------------------------ verdicts


@dataclass(frozen=True)
class Verdicts:
    """Request at which each rollout failed (NEVER: it did not), int64[rollouts], by check; and more."""

    failed_at: dict[str, np.ndarray]
    naive_at: np.ndarray
    completed: np.ndarray

    @property
    def first(self) -> np.ndarray:
        return np.min(np.stack(list(self.failed_at.values())), axis=0)


def crossed(wealth: np.ndarray, alarm: float, block: int) -> np.ndarray:
    """Requests until the e-process reached 1 / alarm."""
    over = wealth >= -math.log(alarm)
    return np.where(over.any(axis=1), (np.argmax(over, axis=1) + 1) * block, NEVER)


def judged(traffic: Traffic, profile: Profile, *, has_stable: bool) -> Verdicts:
    (candidate, stable), (failed, stable_failed) = traffic.seconds, traffic.failed
    slow, stable_slow = candidate > CANARY.latency_seconds, stable > CANARY.latency_seconds
    block = bound_block(profile)
    ends = np.cumsum([s * profile.requests_per_second for s in profile.watch_seconds.values()]).astype(int)
    passed = np.ones(len(failed), bool)
    at = {}
    for name, bad, shared, bound, alarm in (
        ("error_rate", failed, stable_failed, CANARY.error_rate, CANARY.error_rate_alarm),
        ("latency", slow, stable_slow, CANARY.slow_share, CANARY.latency_alarm),
    ):
        wealth = bound_wealth(bad, bound=bound, block=block)
        at[name] = crossed(wealth, alarm, block)
        passed &= np.all(wealth[:, ends // block - 1] < -math.log(alarm), axis=1)
        alone = np.cumsum(bad & ~shared if has_stable else bad, axis=1, dtype=np.int32)[:, ends - 1]
        passed &= [
            all(
                is_below(int(k), int(n), bound, CANARY.false_pass / 2) for k, n in zip(row, ends, strict=True)
            )
            for row in alone
        ]
    if has_stable:
        compared = {
            "error_comparison": (failed, stable_failed, CANARY.error_comparison_alarm),
            "latency_comparison": (
                *slow_in_each(candidate, stable, CANARY),
                CANARY.latency_comparison_alarm,
            ),
        }
        at = {}  # a bound that is broken fails only with its comparison
        for name, (bad, stable_bad, alarm) in compared.items():
            sign = signs(bad.astype(np.int8), stable_bad.astype(np.int8), block=CANARY.comparison_block)
            wealth = comparison_wealth(sign, tolerance=CANARY.comparison_tolerance)
            at[name] = crossed(wealth, alarm, CANARY.comparison_block)
    first = np.min(np.stack(list(at.values())), axis=0)
    return Verdicts(at, naive(failed, slow, profile), passed & (first == NEVER))


def naive(failed: np.ndarray, slow: np.ndarray, profile: Profile) -> np.ndarray:
    """The rule beside ours: at each look, errors or slow answers of this stage so far above 1 %."""
    block = round(profile.requests_per_second * profile.check_seconds)
    over = []
    for bad in (failed, slow):
        looks = block_sums(bad, block)
        begin = 0
        shares = []
        for seconds in profile.watch_seconds.values():
            count = math.ceil(seconds / profile.check_seconds)
            here = np.cumsum(looks[:, begin : begin + count], axis=1)
            shares.append(here / (block * np.arange(1, count + 1)))
            begin += count
        over.append(np.concatenate(shares, axis=1) > 0.01)
    either = over[0] | over[1]
    return np.where(either.any(axis=1), (np.argmax(either, axis=1) + 1) * block, NEVER)


def simulate(
    profile: Profile, change: Change, rollouts: int, *, has_stable: bool = True, record: Record = WHOLE
) -> Verdicts:
    random = np.random.default_rng(20240229)
    every = []
    for begin in range(0, rollouts, CHUNK):
        traffic = resampled(profile, min(CHUNK, rollouts - begin), random, record)
        every.append(judged(change(traffic, random), profile, has_stable=has_stable))
    return Verdicts(
        {name: np.concatenate([v.failed_at[name] for v in every]) for name in every[0].failed_at},
        np.concatenate([v.naive_at for v in every]),
        np.concatenate([v.completed for v in every]),
    )


# ------------------------------------------------------------------------------------ measures


def upper_95(events: int, trials: int) -> float:
    """Clopper and Pearson's one-sided bound of a rate."""
    return float(beta.ppf(0.95, events + 1, trials - events)) if events < trials else 1.0


def false_rollbacks(
    profile: Profile,
    label: str,
    change: Change,
    rollouts: int,
    *,
    has_stable: bool = True,
    record: Record = WHOLE,
) -> dict[str, object]:
    begin = time.perf_counter()
    verdicts = simulate(profile, change, rollouts, has_stable=has_stable, record=record)
    wrong = int(np.sum(verdicts.first != NEVER))
    return {
        "name": "canary.false_rollback",
        "profile": profile.name,
        "looks": profile.looks,
        "traffic": label,
        "roles": "fixed" if record.fixed_roles else "exchanged",
        "stable_colour": has_stable,
        "rollouts": rollouts,
        "false_rollback": wrong / rollouts,
        "at_most_95": round(upper_95(wrong, rollouts), 5),
        "bound": CANARY.false_rollback,
        "by_check": {name: float(np.mean(at != NEVER)) for name, at in verdicts.failed_at.items()},
        "completed": float(np.mean(verdicts.completed)),
        "paused": float(np.mean(~verdicts.completed & (verdicts.first == NEVER))),
        "naive_false_rollback": float(np.mean(verdicts.naive_at != NEVER)),
        "seconds": round(time.perf_counter() - begin, 1),
    }


def detection(
    profile: Profile, label: str, change: Change, rollouts: int, *, has_stable: bool = True
) -> dict[str, object]:
    verdicts = simulate(profile, change, rollouts, has_stable=has_stable)
    first = verdicts.first
    found = first != NEVER
    delay = first[found]
    look = profile.requests_per_second * profile.check_seconds
    to_look = np.ceil(delay / look) * profile.check_seconds
    return {
        "name": "canary.detection",
        "profile": profile.name,
        "fault": label,
        "stable_colour": has_stable,
        "rollouts": rollouts,
        "rolled_back": float(np.mean(found)),
        "completed": float(np.mean(verdicts.completed)),
        "requests_median": float(np.median(delay)) if found.any() else None,
        "requests_p90": float(np.quantile(delay, 0.9)) if found.any() else None,
        "seconds_median": float(np.median(delay)) / profile.requests_per_second if found.any() else None,
        "seconds_to_look_median": float(np.median(to_look)) if found.any() else None,
        "seconds_to_look_p90": float(np.quantile(to_look, 0.9)) if found.any() else None,
        "naive_rolled_back": float(np.mean(verdicts.naive_at != NEVER)),
    }


# ------------------------------------------------------------------------------------ the class itself


def as_pairs(traffic: Traffic, nth: int, *, wrong_from: int | None = None) -> list[Pair]:
    at = datetime(2024, 2, 29, tzinfo=UTC)
    (candidate, stable), (failed, stable_failed) = traffic.seconds, traffic.failed
    return [
        Pair(
            request_id=str(i),
            instrument="binance:BTCUSDT",
            ts=at,
            replayed=True,
            stable_status=500 if stable_failed[nth, i] else 200,
            candidate_status=500 if failed[nth, i] else 200,
            stable_seconds=float(stable[nth, i]),
            candidate_seconds=float(candidate[nth, i]),
            stable_score=0.1,
            candidate_score=0.1,
            parity_difference=0.01 if wrong_from is not None and i >= wrong_from else 1e-7,
        )
        for i in range(candidate.shape[1])
    ]


def rolled_back_at(pairs: list[Pair], profile: Profile) -> int:
    """Requests until a look at the real analysis says fail."""
    analysis = RolloutAnalysis(profile, has_stable=True)
    look = round(profile.requests_per_second * profile.check_seconds)
    healthy = SlotHealth(True, True, "v1.0.0", "", 60 * 2**20)
    seen = 0
    for stage, seconds in profile.watch_seconds.items():
        for _ in range(math.ceil(seconds / profile.check_seconds)):
            analysis.add(stage, pairs[seen : seen + look])
            seen += look
            health = [HealthObservation(pairs[0].ts + timedelta(seconds=s), healthy) for s in range(6)]
            verdict = analysis.look(stage, health=health, breaker_tripped=False, guards=None, final=False)
            if verdict.outcome is Outcome.FAIL:
                return seen
    return NEVER


def agreement(rollouts: int) -> dict[str, object]:
    """The vectorised verdicts above against those of `RolloutAnalysis`, look by look."""
    random = np.random.default_rng(7)
    look = round(FAST.requests_per_second * FAST.check_seconds)
    same = 0
    for change in (scattered_errors(0.02, 0.0), slower(2.0)):
        traffic = change(resampled(FAST, rollouts, random), random)
        first = judged(traffic, FAST, has_stable=True).first
        for nth in range(rollouts):
            expected = NEVER if first[nth] == NEVER else math.ceil(first[nth] / look) * look
            same += rolled_back_at(as_pairs(traffic, nth), FAST) == expected
    garbage = as_pairs(resampled(FAST, 1, random), 0, wrong_from=150)
    return {
        "name": "canary.agreement",
        "rollouts": 2 * rollouts,
        "same": same,
        "wrong_answers_from_request": 150,
        "rolled_back_at_look_after_request": rolled_back_at(garbage, FAST),
    }


# ------------------------------------------------------------------------------------ guards


def book_returns(
    rollouts: int, hold: int, cost_bps: float, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """Net returns a minute of random positions in recorded bars, each kept for `hold` minutes."""
    close = pl.read_parquet(files()[0])["close"].to_numpy()
    change = np.diff(close) / close[:-1]
    for _ in range(rollouts):
        side = np.repeat(random.choice([-1.0, 1.0], len(change) // hold + 1), hold)[: len(change)]
        turnover = np.abs(np.diff(side, prepend=0.0))
        yield side * change - turnover * cost_bps / 1e4


def guard_measures(rollouts: int) -> Iterator[dict[str, object]]:
    """False alarms of the guards over all recorded days, and the delay of a model that trades too much."""
    random = np.random.default_rng(11)
    size = CANARY.guard_block_periods
    alarm = -math.log(CANARY.sharpe_alarm)
    days_a_block = size / 1440
    stable = [np.stack([block_sums(r, size) for r in book_returns(rollouts, 60, 2.0, random)])]
    for label, hold, cost in (
        ("no difference", 60, 2.0),
        ("five times the trades", 12, 2.0),
        ("a trade every other minute", 2, 2.0),
    ):
        candidate = np.stack([block_sums(r, size) for r in book_returns(rollouts, hold, cost, random)])
        over = sharpe_wealth(stable[0], candidate, CANARY) >= alarm
        found = over.any(axis=1)
        delay = (np.argmax(over, axis=1)[found] + 1 + CANARY.guard_scale_blocks) * days_a_block
        yield {
            "name": "canary.guard_sharpe",
            "candidate": label,
            "rollouts": rollouts,
            "days": candidate.shape[1] * days_a_block,
            "rolled_back": float(np.mean(found)),
            "days_median": float(np.median(delay)) if found.any() else None,
            "rolled_back_in_first_day": float(np.mean(delay <= 1) * np.mean(found)) if found.any() else 0.0,
        }
    for label, chance in (("no difference", 0.5), ("20 points worse", 0.3)):
        alarmed, trades = 0, 4 * np.arange(24, 24 * 108, 24)  # four instruments, a trade an hour each
        for _ in range(rollouts):
            # All four of an hour win or lose together: the worst that moving together can do.
            won = 4 * np.cumsum(random.random((2, 24 * 107)) < np.array([[0.5], [chance]]), axis=1)[:, 23::24]
            half = CANARY.win_rate_alarm / 2
            alarmed += any(
                lower_bound(s / 4, n / 4, typical=0.5, alarm=half)
                - upper_bound(c / 4, n / 4, typical=0.5, alarm=half)
                > CANARY.win_rate_drop
                for s, c, n in zip(won[0][::10], won[1][::10], trades[::10], strict=True)
            )
        yield {
            "name": "canary.guard_win_rate",
            "candidate": label,
            "rollouts": rollouts,
            "days": 107,
            "rolled_back": alarmed / rollouts,
        }


def main() -> None:
    rollouts = int(sys.argv[1]) if len(sys.argv) > 1 else ROLLOUTS
    for profile in (STANDARD, FAST):
        bursts = at_the_bound(profile, 0.008)
        for label, change, record in (
            ("as recorded", as_recorded, WHOLE),
            ("as recorded", as_recorded, Record(fixed_roles=True)),
            ("as recorded, the loaded part", as_recorded, LOADED),
            ("0.8 % errors and 0.8 % slow in both, in bursts", bursts, WHOLE),
            ("0.8 % errors and 0.8 % slow in both, in bursts", bursts, Record(fixed_roles=True)),
        ):
            emit(false_rollbacks(profile, label, change, rollouts, record=record))
        alone = "as recorded, the quiet part"
        emit(false_rollbacks(profile, alone, as_recorded, rollouts, has_stable=False, record=QUIET))
    few = max(rollouts // 10, 20)
    for profile in (STANDARD, FAST):
        for label, change, has_stable in (
            ("error rate x2 (0.5 % to 1 %, scattered)", scattered_errors(0.01, 0.005), True),
            ("error rate x2 (0.5 % to 1 %, in bursts)", bursty_errors(profile, 0.01, 0.005), True),
            ("error rate 2 %, stable none", scattered_errors(0.02, 0.0), True),
            ("error rate 2 %, no stable colour", scattered_errors(0.02, 0.0), False),
            ("error rate 5 %, no stable colour", scattered_errors(0.05, 0.0), False),
            ("p99 x2, all answers", slower(2.0), True),
            ("p99 x2, slowest 5 % only", slower_tail(2.0, 0.05), True),
            ("latency + 20 %, which is granted", slower(1.2), True),
        ):
            emit(detection(profile, label, change, few, has_stable=has_stable))
    emit(agreement(5))
    for measure in guard_measures(few):
        emit(measure)


if __name__ == "__main__":
    main()
