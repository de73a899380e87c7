"""Served predictions in the lake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from autotrader.data.lake import Lake
from autotrader.data.predictions import PredictionStore
from autotrader.data.schemas import PREDICTIONS
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import InstrumentId

START = datetime(2024, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BTC, ETH = InstrumentId.parse("binance:BTCUSDT"), InstrumentId.parse("binance:ETHUSDT")


def predictions(count: int = 3, *, features: tuple[str, ...] = ("a", "b"), **changes: Any) -> pl.DataFrame:
    """One request a minute, of one row each."""
    values: dict[str, Any] = {
        "venue": "binance",
        "instrument": "BTCUSDT",
        "interval": "1m",
        "ts": [START + n * MINUTE for n in range(count)],
        "request_id": [f"r{n}" for n in range(count)],
        "row": 0,
        "received_at": START + timedelta(days=1),
        "version": "v1.0.0",
        "color": "blue",
        "replayed": False,
        "feature_set": "balanced-v1",
        "p_down": 0.2,
        "p_flat": 0.3,
        "p_up": 0.5,
        **dict.fromkeys(features, 1.5),
    }
    schema = PREDICTIONS | dict.fromkeys(features, pl.Float32)
    length = pl.DataFrame({"n": range(count)})
    columns = {**values, **changes}
    return length.select(
        (pl.Series(c, v) if isinstance(v, list) else pl.lit(v)).cast(schema[c]).alias(c)
        for c, v in columns.items()
    )


@pytest.fixture
def store(tmp_path: Path) -> PredictionStore:
    return PredictionStore(Lake(str(tmp_path)))


def read(store: PredictionStore, **filters: Any) -> pl.DataFrame:
    return store.read(**{"start": START, "end": START + timedelta(days=1), **filters})


def test_what_was_appended_is_read_in_order_with_its_features(store: PredictionStore) -> None:
    report = store.append(predictions(instrument="ETHUSDT"), predictions().reverse())
    assert (report.inserted, report.unchanged) == (6, 0)
    found = read(store)
    assert found.columns == [*PREDICTIONS, "a", "b"]
    assert found.schema["a"] == pl.Float32
    assert found["instrument"].to_list() == ["BTCUSDT"] * 3 + ["ETHUSDT"] * 3
    assert found["ts"].to_list()[:3] == [START + n * MINUTE for n in range(3)]


def test_appending_again_changes_nothing_and_the_first_answer_stays(store: PredictionStore) -> None:
    store.append(predictions())
    again = store.append(predictions(4, p_up=0.9), predictions(4, p_up=0.8))
    assert (again.inserted, again.unchanged) == (1, 3)
    assert read(store)["p_up"].to_list() == pytest.approx([0.5, 0.5, 0.5, 0.9])


def test_colors_and_rows_of_a_request_are_rows_of_their_own(store: PredictionStore) -> None:
    both = [predictions(), predictions(color="green"), predictions(row=1)]
    assert store.append(*both).inserted == 9
    assert read(store).height == 9


def test_a_reader_names_what_it_wants(store: PredictionStore) -> None:
    store.append(
        predictions(),
        predictions(instrument="ETHUSDT", version="v1.1.0", color="green", replayed=True),
    )
    assert set(read(store, instruments=[ETH])["instrument"]) == {"ETHUSDT"}
    assert read(store, instruments=[BTC, ETH]).height == 6
    assert set(read(store, version="v1.1.0")["color"]) == {"green"}
    assert set(read(store, color="blue")["version"]) == {"v1.0.0"}
    assert set(read(store, replayed=True)["version"]) == {"v1.1.0"}
    assert set(read(store, replayed=False)["version"]) == {"v1.0.0"}
    assert read(store, start=START + MINUTE, end=START + 2 * MINUTE).height == 2


def test_before_the_first_prediction_there_is_an_empty_frame(store: PredictionStore) -> None:
    found = read(store)
    assert found.is_empty()
    assert found.columns == list(PREDICTIONS)
    assert read(store, feature_set="balanced-v1").is_empty()


def test_each_feature_set_has_its_own_columns(store: PredictionStore) -> None:
    store.append(predictions(), predictions(features=("c",), feature_set="other-v1"))
    assert read(store, feature_set="balanced-v1").columns == [*PREDICTIONS, "a", "b"]
    assert read(store, feature_set="other-v1").columns == [*PREDICTIONS, "c"]
    together = read(store)
    assert together.height == 6
    assert together.filter(feature_set="other-v1")["a"].null_count() == 3


def test_a_frame_that_is_none_of_predictions_is_refused(store: PredictionStore) -> None:
    with pytest.raises(BadData, match="p_up"):
        store.append(predictions().drop("p_up"))
    with pytest.raises(BadData, match="float32 features"):
        store.append(predictions().with_columns(a=pl.lit("text")))
    with pytest.raises(BadData, match="one feature set"):
        store.append(predictions(feature_set=["a-v1", "b-v1", "a-v1"]))
    store.append(predictions())
    with pytest.raises(BadData, match="columns of predictions_balanced_v1"):
        store.append(predictions(features=("a", "z")))
    assert read(store).height == 3
