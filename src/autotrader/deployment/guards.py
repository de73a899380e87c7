"""What both colours' answers would have earned on the same bars: evidence for the trading guards."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from autotrader.config.settings import StrategySettings
from autotrader.data.bars import BarStore
from autotrader.deployment.analysis.guards import GuardEvidence
from autotrader.deployment.replay import ReplayRows
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import InstrumentId
from autotrader.execution.clock import bars_per_year
from autotrader.execution.net_returns import PairedReturns, Scores, paired_net_returns, trade_results
from autotrader.execution.prices import PriceBars
from autotrader.execution.strategy import VOLATILITY_FEATURE, EntryRule, StrategyRules, decides
from autotrader.ports.deployment import Pair
from autotrader.registry.onnx_model import OnnxModel


class TradedScores:
    """Of each instrument and bar, the first answer of both colours; later ones are the same question."""

    def __init__(self) -> None:
        self._of: dict[str, dict[datetime, tuple[float, float]]] = {}

    def add(self, pairs: Sequence[Pair]) -> None:
        """Keep what both answered."""
        for pair in pairs:
            if pair.stable_score is not None and pair.candidate_score is not None:
                answered = self._of.setdefault(pair.instrument, {})
                answered.setdefault(pair.ts, (pair.stable_score, pair.candidate_score))

    @property
    def instruments(self) -> Sequence[str]:
        return sorted(self._of)

    def of(self, instrument: str) -> tuple[list[datetime], list[tuple[float, float]]]:
        """Bar opens, oldest first, and the scores of stable and candidate."""
        ordered = sorted(self._of[instrument].items())
        return [ts for ts, _ in ordered], [scores for _, scores in ordered]


def guard_evidence(
    scores: TradedScores,
    rows: ReplayRows,
    bars: BarStore,
    *,
    stable: OnnxModel,
    candidate: OnnxModel,
    strategy: StrategySettings,
) -> GuardEvidence | None:
    """Trade both colours' answers by one sizing, cost and fill model.

    Parameters
    ----------
    scores : TradedScores
    rows : ReplayRows
        Rows that were asked about; the volatility that sizing needs is among their features.
    stable, candidate : OnnxModel
        Their metadata hold when they decide, and the score that opens a position.

    Returns
    -------
    GuardEvidence or None
        None where a model was made without these, or no instrument has two bars.
    """
    if VOLATILITY_FEATURE not in rows.names:
        return None
    try:
        entries = (EntryRule.of(stable.metadata), EntryRule.of(candidate.metadata))
    except BadData:
        return None
    rules, books = StrategyRules.of(strategy), []
    for instrument in scores.instruments:
        book = _book(instrument, scores, rows, bars, entries, strategy, rules)
        if book is not None:
            books.append(book)
    if not books:
        return None
    returns, trades = zip(*books, strict=True)
    ts = np.unique(np.concatenate([paired.ts for paired in returns]))
    both = np.zeros((2, len(ts)))
    for paired in returns:  # equal shares of the capital
        at = np.searchsorted(ts, paired.ts)
        both[0, at] += paired.stable / len(returns)
        both[1, at] += paired.candidate / len(returns)
    counts = np.sum(trades, axis=0)
    return GuardEvidence(
        stable_returns=both[0],
        candidate_returns=both[1],
        stable_wins=int(counts[0, 0]),
        stable_trades=int(counts[0, 1]),
        candidate_wins=int(counts[1, 0]),
        candidate_trades=int(counts[1, 1]),
        period_seconds=strategy.interval.seconds,
        periods_per_year=bars_per_year(ts),
    )


def _book(
    instrument: str,
    scores: TradedScores,
    rows: ReplayRows,
    bars: BarStore,
    entries: tuple[EntryRule, EntryRule],
    strategy: StrategySettings,
    rules: StrategyRules,
) -> tuple[PairedReturns, list[tuple[int, int]]] | None:
    at, answered = scores.of(instrument)
    volatility = _volatility(instrument, rows)
    known = [(ts, pair) for ts, pair in zip(at, answered, strict=True) if ts in volatility]
    if len(known) < 2:
        return None
    end = known[-1][0] + timedelta(seconds=2 * strategy.interval.seconds)
    frame = bars.read(
        [InstrumentId.parse(instrument)],
        interval=strategy.interval,
        start=known[0][0],
        end=end,
        columns=["ts", "open", "close", "volume"],
    )
    if frame.height < 2:
        return None
    opens = frame["ts"].dt.replace_time_zone(None).to_numpy()
    prices = PriceBars(opens, frame["open"].to_numpy(), frame["close"].to_numpy(), frame["volume"].to_numpy())
    priced = [(ts, pair) for ts, pair in known if np.datetime64(ts.replace(tzinfo=None), "us") in opens]
    if not priced:
        return None
    when = np.array([ts.replace(tzinfo=None) for ts, _ in priced], dtype="datetime64[us]")
    sized_by = np.array([volatility[ts] for ts, _ in priced])
    one, other = (
        Scores(
            when,
            np.where(
                decides(when.astype(np.int64), strategy.interval, entry.every_bars),
                [pair[side] for _, pair in priced],
                np.nan,
            ),
            sized_by,
            entry.score,
        )
        for side, entry in enumerate(entries)
    )
    paired = paired_net_returns(instrument, prices, stable=one, candidate=other, rules=rules)
    results = [trade_results(instrument, prices, side, rules=rules) for side in (one, other)]
    return paired, [(int((pnl > 0).sum()), len(pnl)) for pnl in results]


def _volatility(instrument: str, rows: ReplayRows) -> dict[datetime, float]:
    column = rows.names.index(VOLATILITY_FEATURE)
    return {
        datetime.fromtimestamp(int(rows.ts[i]) / 1e6, UTC): float(rows.features[i, column])
        for i, name in enumerate(rows.instrument)
        if name == instrument
    }
