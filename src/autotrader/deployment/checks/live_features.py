"""Whether what the model will be asked about is there, is fresh, and is computed as it was in training."""

from __future__ import annotations

from collections.abc import Sequence

from autotrader.data.bars import BarStore
from autotrader.data.freshness import delivery_finding
from autotrader.domain.bars import Interval
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.thresholds import DEPLOYMENT_CHECKS
from autotrader.domain.verdicts import Finding, Severity, worst
from autotrader.features.parity import compare_live_to_batch
from autotrader.features.store.store import FeatureStore
from autotrader.ports.clock import MarketClock


def check_freshness(
    store: FeatureStore, instruments: Sequence[InstrumentId], *, interval: Interval, clock: MarketClock
) -> Finding:
    """The features of every instrument are what the last data run was due to bring."""
    now = clock.now()
    found = {
        str(i): delivery_finding(
            f"features of {i}", i.venue, interval, store.high_water_mark(i, interval), clock
        )
        for i in instruments
    }
    severity = worst(f.severity for f in found.values())
    bad = [f.reason for f in found.values() if f.severity is not Severity.HEALTHY]
    mode = "replayed" if clock.is_replay else "live"
    due = f"as new as was due at {mode} market time {now:%F %R}"
    reason = "; ".join(bad) or f"features of {len(found)} instruments are {due}"
    evidence = {
        "market_time": now,
        "replay": clock.is_replay,
        "instruments": {name: f.evidence for name, f in found.items()},
    }
    return Finding("freshness", severity, reason, evidence)


def check_parity(
    bars: BarStore, store: FeatureStore, instruments: Sequence[InstrumentId], *, interval: Interval
) -> Finding:
    """The live path computes the features of the newest real bars as the batch path does."""
    count = DEPLOYMENT_CHECKS.parity_bars
    rows, largest, wrong = {}, 0.0, []
    for instrument in instruments:
        newest = bars.high_water_mark(instrument, interval)
        if newest is None:
            wrong.append(f"{instrument} has no bars")
            continue
        start = newest - (count + store.feature_set.lookback) * interval.delta
        recent = bars.read([instrument], interval=interval, start=start)
        report = compare_live_to_batch(recent, store.feature_set, last=count)
        rows[str(instrument)] = report.rows
        largest = max(largest, report.largest)
        if not report.passed:
            wrong.append(f"{instrument}: {report.verdict.reason}")
    evidence = {"rows": rows, "largest_difference": largest}
    if wrong:
        return Finding("parity", Severity.CRITICAL, "; ".join(wrong), evidence)
    reason = f"live and batch features of {sum(rows.values())} newest bars agree within {largest:.1e}"
    return Finding("parity", Severity.HEALTHY, reason, evidence)
