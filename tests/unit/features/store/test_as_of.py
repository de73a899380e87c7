"""A label gets the newest features that were known at its instant: no later, and no older."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.data.schemas import TIMESTAMP
from autotrader.domain.errors import BadData
from autotrader.features.store.as_of import as_of_join
from tests.unit.features.market import MINUTE, START

SECOND = timedelta(seconds=1)


def rows(*versions: tuple[int, int, float], symbol: str = "BTCUSDT") -> pl.DataFrame:
    """Rows from (minute of the open, seconds from START until known, value)."""
    return pl.DataFrame(
        {
            "venue": "binance",
            "instrument": symbol,
            "ts": pl.Series([START + m * MINUTE for m, _, _ in versions], dtype=TIMESTAMP),
            "known_at": pl.Series([START + s * SECOND for _, s, _ in versions], dtype=TIMESTAMP),
            "value": pl.Series([v for _, _, v in versions], dtype=pl.Float32),
        }
    )


def labels(*seconds: int, symbol: str = "BTCUSDT") -> pl.DataFrame:
    instants = pl.Series([START + s * SECOND for s in seconds], dtype=TIMESTAMP)
    return pl.DataFrame({"venue": "binance", "instrument": symbol, "ts": instants, "label": 1})


def values(joined: pl.DataFrame) -> list[float | None]:
    return joined["value"].to_list()


THREE = rows((0, 62, 1.0), (1, 122, 2.0), (2, 182, 3.0))


def test_a_label_gets_the_row_known_last() -> None:
    joined = as_of_join(labels(61, 62, 100, 122, 10_000), THREE)
    assert values(joined) == [None, 1.0, 1.0, 2.0, 3.0]
    assert joined.columns == ["venue", "instrument", "ts", "label", "feature_ts", "known_at", "value"]
    assert joined["feature_ts"][3] == START + MINUTE


def test_labels_may_come_in_any_order() -> None:
    assert values(as_of_join(labels(10_000, 62, 122, 61), THREE)) == [3.0, 1.0, 2.0, None]


def test_a_row_that_became_known_late_is_not_seen_before() -> None:
    late = rows((0, 62, 1.0), (1, 5_000, 2.0), (2, 182, 3.0), (3, 5_000, 4.0))
    assert values(as_of_join(labels(150, 200, 4_999, 5_000), late)) == [1.0, 3.0, 3.0, 4.0]


def test_of_several_versions_of_a_row_the_one_known_then_is_seen() -> None:
    restated = rows((0, 62, 1.0), (1, 122, 2.0), (1, 5_000, 2.5))
    assert values(as_of_join(labels(122, 4_999, 5_000), restated)) == [2.0, 2.0, 2.5]


def test_instruments_do_not_mix() -> None:
    both = pl.concat([THREE, rows((0, 62, 9.0), symbol="ETHUSDT")])
    asked = pl.concat([labels(200, symbol="ETHUSDT"), labels(200), labels(200, symbol="XRPUSDT"), labels(70)])
    assert values(as_of_join(asked, both)) == [9.0, 3.0, None, 1.0]


def test_a_row_that_is_too_old_is_not_used() -> None:
    joined = as_of_join(labels(182, 300, 301), THREE, tolerance=timedelta(minutes=3))
    assert values(joined) == [3.0, 3.0, None]


def test_nothing_joins_with_nothing() -> None:
    assert values(as_of_join(labels(100), THREE.clear())) == [None]
    assert as_of_join(labels().cast({"ts": TIMESTAMP}), THREE).height == 0


def test_rows_out_of_order_are_refused() -> None:
    with pytest.raises(BadData, match="sorted by ts"):
        as_of_join(labels(200), THREE.reverse())
    with pytest.raises(BadData, match="two runs"):
        as_of_join(labels(200), pl.concat([THREE, rows((0, 62, 9.0), symbol="ETHUSDT"), THREE]))


@settings(max_examples=60)
@given(
    versions=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2_000)), max_size=20, unique=True),
    asked=st.lists(st.integers(0, 2_500), max_size=12),
)
def test_every_label_gets_what_a_search_of_all_rows_finds(
    versions: list[tuple[int, int]], asked: list[int]
) -> None:
    known = sorted((minute, 60 * (minute + 1) + late) for minute, late in versions)
    table = rows(*((m, s, float(k)) for k, (m, s) in enumerate(known)))
    found = values(as_of_join(labels(*asked), table)) if asked else []
    for second, value in zip(asked, found, strict=True):
        possible = [k for k, (_, s) in enumerate(known) if s <= second]
        assert value == (float(max(possible, key=lambda k: known[k])) if possible else None)


def test_the_result_is_that_of_a_plain_join_where_all_is_known_on_time() -> None:
    table = rows(*((m, 60 * (m + 1), float(m)) for m in range(500)))
    asked = labels(*range(0, 30_000, 37))
    plain = asked.join_asof(
        table.select("known_at", "value").set_sorted("known_at"), left_on="ts", right_on="known_at"
    )
    assert values(as_of_join(asked, table)) == plain["value"].to_list()


def test_instants_keep_their_type() -> None:
    joined = as_of_join(labels(100), THREE)
    assert joined.schema["known_at"] == TIMESTAMP
    assert isinstance(joined["known_at"][0], datetime)
