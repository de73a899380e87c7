"""Decisions are exported, and decided again elsewhere: as then, or with another model."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from autotrader import cli
from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.mlflow_registry import MlflowRegistry
from autotrader.apps.trader.incident_bundle import BARS, FEATURES, read_bundle
from autotrader.apps.trader.incident_difference import What
from autotrader.apps.trader.incident_replay import Replayed
from autotrader.apps.trader.incident_what_if import Compared
from autotrader.data.schemas import BARS as BAR_SCHEMA
from autotrader.db.engine import open_database
from autotrader.domain.errors import BadData, ConfigurationError, ExitCode, NotFound
from autotrader.domain.orders import OrderStatus
from autotrader.domain.trading import Cause, TradingState
from autotrader.ports.trading import Restriction
from autotrader.trading.bars import Batch
from autotrader.trading.trader import TOO_LATE, Trader
from tests.fakes.mlflow_server import StandInMlflow, serve
from tests.models import trading_model
from tests.trading import BTC, ETH, MINUTE, START
from tests.unit.apps.trader.incidents import (
    ABSENT,
    EVERYTHING,
    MINUTES,
    NEW_DAY,
    SILENT,
    Place,
    altered,
    forged,
    prompt,
)

HALTED, FREED = START + 40 * MINUTE, START + 70 * MINUTE


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = Place(tmp_path_factory.mktemp("incident"))
    made.world.run()
    made.export(made.folder / "all.zip")
    return made


@pytest.fixture(scope="module")
def bundle(place: Place) -> Path:
    return place.folder / "all.zip"


def replayed(place: Place, bundle: Path) -> Replayed:
    result = place.replay(bundle)
    assert isinstance(result.data, Replayed)
    assert result.exit_code == (ExitCode.DONE if result.data.equal else ExitCode.FAILED)
    return result.data


def compared(place: Place, bundle: Path, model: str) -> Compared:
    result = place.replay(bundle, model)
    assert isinstance(result.data, Compared)
    assert result.exit_code is ExitCode.DONE
    return result.data


# ----------------------------------------------------------------------------------- as then


def test_the_same_is_decided_again_through_partial_fills_rejections_and_silence(
    place: Place, bundle: Path
) -> None:
    incident = read_bundle(bundle)
    assert any(0 < o.filled < o.quantity for o in incident.orders)
    assert [o.status for o in incident.orders].count(OrderStatus.REJECTED) == 1
    assert all(s.version is None for s in incident.signals if s.ts == SILENT)
    assert [s.instrument for s in incident.signals if s.ts == ABSENT] == [BTC]
    result = replayed(place, bundle)
    state = place.world.records.state("main")
    assert state is not None
    assert (result.bars, result.orders) == (MINUTES, len(incident.orders))
    assert result.replayed_hash == result.recorded_hash == state.memory["decision_hash"]
    assert result.equal


def test_a_bundle_holds_the_features_that_were_computed(bundle: Path) -> None:
    incident = read_bundle(bundle)
    assert incident.features.height == len(incident.signals)
    assert set(incident.features.dtypes[3:]) == {pl.Float32}
    assert incident.features["zscore_20"].is_finite().all()


def test_a_window_begins_at_the_checkpoint_before_it_and_ends_where_a_hash_is_known(
    place: Place, tmp_path: Path
) -> None:
    early, late = tmp_path / "early.zip", tmp_path / "late.zip"
    place.export(early, start=START + 10 * MINUTE, end=START + 20 * MINUTE)
    place.export(late, start=NEW_DAY + 5 * MINUTE)
    first, second = read_bundle(early), read_bundle(late)
    assert (first.first.ts, first.until) == (START, NEW_DAY)
    assert (second.first.ts, second.until) == (NEW_DAY, START + MINUTES * MINUTE)
    assert second.first.decision_hash == first.decision_hash
    assert second.first.why == "the trading day began"
    assert replayed(place, early).equal
    assert replayed(place, late).equal


def test_what_a_person_did_in_between_is_part_of_the_replay(tmp_path: Path) -> None:
    place = interrupted(tmp_path)
    place.export(tmp_path / "halted.zip", end=START + 80 * MINUTE)
    incident = read_bundle(tmp_path / "halted.zip")
    assert [c.ts for c in incident.checkpoints] == [START, HALTED, FREED]
    assert incident.checkpoints[1].state.state is TradingState.HALTED
    assert replayed(place, tmp_path / "halted.zip").equal


def test_a_difference_names_the_intervention_before_it(tmp_path: Path) -> None:
    place = interrupted(tmp_path)
    place.export(tmp_path / "halted.zip", end=START + 80 * MINUTE)
    without = forged(
        tmp_path / "halted.zip",
        tmp_path / "forged.zip",
        "checkpoints.jsonl",
        lambda content: content.splitlines()[0] + b"\n",
    )
    found = replayed(place, without).difference
    assert found is not None
    assert HALTED <= found.ts < FREED
    assert any("halted by ops" in told for told in found.interventions)


def interrupted(folder: Path) -> Place:
    """A trader that somebody halts and frees while it trades."""
    place = Place(folder, minutes=80, is_smooth=True)
    known: list[Trader] = []

    def intervene(batch: Batch) -> None:
        accounting = known[0].accounting
        if batch.ts == HALTED:
            now = datetime.now(UTC)
            accounting.restrict(
                Restriction(Cause.OPERATOR, TradingState.HALTED, "halted by ops: looks odd", now, "ops")
            )
        if batch.ts == FREED:
            accounting.lift(Cause.OPERATOR, "looked at it", actor="ops")

    place.world.run(before_each=intervene, watch=known.append)
    return place


def test_bars_that_came_too_late_are_too_late_again(tmp_path: Path) -> None:
    place = Place(tmp_path, minutes=60, is_smooth=True)

    class Late:
        is_replay = False
        at = START

        def now(self) -> datetime:
            return self.at + timedelta(minutes=1 if self.at.minute not in range(30, 40) else 30)

    clock = place.world.market_clock = Late()
    place.world.run(before_each=lambda batch: setattr(clock, "at", batch.ts))
    place.export(tmp_path / "late.zip")
    late = [s for s in read_bundle(tmp_path / "late.zip").signals if s.outcome.startswith(TOO_LATE)]
    assert {s.ts.minute for s in late} == set(range(30, 40))
    assert replayed(place, tmp_path / "late.zip").equal


def test_a_venue_that_fills_between_bars_is_played_back(tmp_path: Path) -> None:
    place = Place(tmp_path, minutes=120, is_smooth=True)
    place.world.wrap = prompt
    place.world.run()
    place.export(tmp_path / "b.zip")
    incident = read_bundle(tmp_path / "b.zip")
    assert {fill.at.second for fill in incident.fills} == {1}
    assert len(incident.trades) > 3
    assert replayed(place, tmp_path / "b.zip").equal


def test_a_trader_that_was_started_again_is_replayed_across_its_start(tmp_path: Path) -> None:
    place = Place(tmp_path, minutes=80, is_smooth=True)
    place.world.run(bars=place.world.live[:50])
    place.world.run()
    place.export(tmp_path / "b.zip")
    result = replayed(place, tmp_path / "b.zip")
    assert result.equal
    assert result.bars == 80


# ------------------------------------------------------------------------------- differences


def line(change: Callable[[dict[str, object]], bool]) -> Callable[[bytes], bytes]:
    """Changes the first line of which `change` says that it did."""

    def changed(content: bytes) -> bytes:
        lines, done = [], False
        for text in content.splitlines():
            values = json.loads(text)
            done = done or change(values)
            lines.append(json.dumps(values))
        return ("\n".join(lines) + "\n").encode()

    return changed


def test_another_score_is_named_with_its_bar(place: Place, bundle: Path, tmp_path: Path) -> None:
    at = START + 50 * MINUTE

    def other(signal: dict[str, object]) -> bool:
        if signal["ts"] != at.isoformat():
            return False
        signal["score"] = 0.123
        return True

    found = replayed(place, forged(bundle, tmp_path / "b.zip", "signals.jsonl", line(other))).difference
    assert found is not None
    assert (found.ts, found.what, found.instrument) == (at, What.SCORE, str(BTC))
    assert found.recorded == "0.123"
    assert found.features == ()
    assert "score of binance:BTCUSDT was 0.123" in found.to_text()


def test_another_order_is_named_with_its_bar(place: Place, bundle: Path, tmp_path: Path) -> None:
    first = read_bundle(bundle).orders[0]

    def other(order: dict[str, object]) -> bool:
        if order["client_order_id"] != first.client_order_id:
            return False
        order["quantity"] = "1"
        return True

    found = replayed(place, forged(bundle, tmp_path / "b.zip", "orders.jsonl", line(other))).difference
    assert found is not None
    assert (found.ts, found.what) == (first.decided_at - MINUTE, What.ORDER)
    assert found.recorded.startswith("buy 1 ")


def test_a_restated_volume_shows_in_the_features_that_differ(
    place: Place, bundle: Path, tmp_path: Path
) -> None:
    at = START + 20 * MINUTE
    restated = pl.when(pl.col("ts") == at).then(9_000.0).otherwise(pl.col("volume"))
    found = replayed(place, forged(bundle, tmp_path / "b.zip", BARS, bars_with(volume=restated))).difference
    # The model looks at prices alone, so that the hash is what tells.
    assert found is not None
    assert found.what is What.HASH
    lower = pl.when(pl.col("ts") == at).then(pl.col("high") + 0.5).otherwise(pl.col("high"))
    assert replayed(place, forged(bundle, tmp_path / "c.zip", BARS, bars_with(high=lower))).equal is False


def test_a_restated_close_of_the_look_back_shows_in_score_and_features(
    place: Place, bundle: Path, tmp_path: Path
) -> None:
    restated = (
        pl.when(pl.col("ts") == START - 5 * MINUTE).then(pl.col("close") + 1).otherwise(pl.col("close"))
    )
    found = replayed(place, forged(bundle, tmp_path / "b.zip", BARS, bars_with(close=restated))).difference
    assert found is not None
    assert (found.ts, found.what) == (START, What.SCORE)
    assert "zscore_20" in found.features
    assert "hour" not in found.features


def bars_with(**columns: pl.Expr) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        buffer = io.BytesIO()
        pl.read_parquet(io.BytesIO(content)).with_columns(**columns).write_parquet(buffer)
        return buffer.getvalue()

    return changed


# --------------------------------------------------------------------------- with another model


def test_the_same_model_on_paper_would_have_done_what_it_did(tmp_path: Path) -> None:
    place = Place(tmp_path, minutes=100, is_smooth=True)
    place.world.run()
    place.export(tmp_path / "b.zip")
    found = compared(place, tmp_path / "b.zip", "v1.0.0")
    assert found.happened.orders > 10
    assert found.happened.trades > 0
    assert found.would_have == found.happened


def test_another_model_stands_beside_what_happened(place: Place, bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(trading_model(pull=-1.0))
    found = compared(place, bundle, str(other))
    state = place.world.records.state("main")
    assert state is not None
    assert found.happened.pnl == state.equity - state.initial_equity
    assert found.happened.orders == len(place.world.records.orders("main", EVERYTHING))
    assert found.would_have.orders not in (0, found.happened.orders)
    assert found.would_have.pnl != found.happened.pnl
    assert "other.onnx, on paper" in found.to_text()


def test_a_model_that_was_served_here_is_found_by_its_version(place: Place, bundle: Path) -> None:
    served = place.settings.home / "releases" / "v9.0.0"
    served.mkdir(parents=True)
    (served / "model.onnx").write_bytes(trading_model(pull=2.0))
    assert compared(place, bundle, "v9.0.0").model == "v9.0.0"
    with pytest.raises(NotFound, match=r"v1\.0\.0.*was v8"):
        place.replay(bundle, "v8.0.0")


def test_a_model_of_other_features_is_refused(place: Place, bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(trading_model().replace(b"balanced-v1", b"balanced-v9"))
    with pytest.raises(BadData, match="balanced-v9"):
        place.replay(bundle, str(other))


# ----------------------------------------------------------------------------------- the file


@pytest.mark.parametrize("name", ["signals.jsonl", BARS, FEATURES, "models/v1.0.0.onnx"])
def test_a_changed_file_is_refused(name: str, place: Place, bundle: Path, tmp_path: Path) -> None:
    changed = altered(bundle, tmp_path / "b.zip", name, lambda content: content[:-1] + b"x")
    with pytest.raises(BadData, match=name):
        place.replay(changed)


def test_damage_is_told_in_a_line(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged = tmp_path / "b.zip"
    for bad in (bytes(content), bytes(content[:5_000]), b"PK", b""):
        damaged.write_bytes(bad)
        assert cli.main(["incident", "replay", "--file", str(damaged)]) == ExitCode.FAILED
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("BadData: expected ")
        assert len(err.splitlines()) == 1


def test_a_bundle_of_another_format_or_without_a_file_is_refused(
    place: Place, bundle: Path, tmp_path: Path
) -> None:
    newer = altered(
        bundle, tmp_path / "b.zip", "manifest.json", lambda c: c.replace(b'"format": 1', b'"format": 2')
    )
    with pytest.raises(BadData, match="format 1, was 2"):
        place.replay(newer)
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(tmp_path / "c.zip", "w") as new:
        for member in old.infolist()[:-1]:
            new.writestr(member, old.read(member))
    with pytest.raises(BadData, match="files that its manifest names"):
        place.replay(tmp_path / "c.zip")
    with pytest.raises(NotFound, match="was no file"):
        place.replay(tmp_path / "none.zip")


def test_the_verb_replays_a_bundle_far_from_where_it_was_made(
    bundle: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["incident", "replay", "--file", str(bundle), "--json"]) == ExitCode.DONE
    told = json.loads(capsys.readouterr().out)
    assert told["equal"] is True
    assert told["difference"] is None
    assert told["recorded_hash"] == told["replayed_hash"]
    assert not home.exists()


def test_both_verbs_work_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path, minutes=60, is_smooth=True)
    place.world.run()
    mlflow = StandInMlflow()
    out = tmp_path / "b.zip"
    with serve(mlflow) as uri:
        monkeypatch.setenv("AUTOTRADER_HOME", str(tmp_path))
        monkeypatch.setenv("AUTOTRADER_MLFLOW__TRACKING_URI", uri)
        engine = open_database(place.settings.database_url)
        registry = MlflowRegistry(uri, engine, place.events, SystemWallClock())
        place.register(registry, mlflow.make_run())
        window = ["--start", "2024-01-02T00:10:00Z", "--end", "2024-01-02T00:30:00Z"]
        assert cli.main(["incident", "export", *window, "--out", str(out), "--json"]) == ExitCode.DONE
    exported = json.loads(capsys.readouterr().out)
    assert exported["models"] == ["v1.0.0"]
    assert cli.main(["incident", "replay", "--file", str(out)]) == ExitCode.DONE
    told = capsys.readouterr().out
    assert "the same decisions" in told
    assert exported["decision_hash"][:16] in told
    assert cli.main(["incident", "replay", "--file", str(out), "--model", "v1.0.0"]) == ExitCode.DONE
    assert "v1.0.0, on paper" in capsys.readouterr().out


# --------------------------------------------------------------------------------- exporting


def test_an_export_that_fails_leaves_the_file_as_it_was(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "b.zip"
    out.write_bytes(b"yesterday's")
    (name,) = [key for key in place.registry.artifacts if key[2] == "model.onnx"]
    content = place.registry.artifacts[name]
    place.registry.artifacts[name] = b"another model"
    release = place.settings.home / "releases" / "v1.0.0" / "model.onnx"
    kept = release.read_bytes()
    release.write_bytes(b"another model")
    try:
        with pytest.raises(BadData, match="SHA-256"):
            place.export(out)
    finally:
        place.registry.artifacts[name] = content
        release.parent.mkdir(exist_ok=True)
        release.write_bytes(kept)
    assert [p.name for p in tmp_path.iterdir()] == ["b.zip"]
    assert out.read_bytes() == b"yesterday's"


def test_a_window_that_cannot_be_exported_says_why(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "b.zip"
    with pytest.raises(NotFound, match=r"at or before .* the first is of 2024-01-02 00:00"):
        place.export(out, start=START - timedelta(days=1))
    with pytest.raises(ConfigurationError, match="start before the end"):
        place.export(out, start=START, end=START)
    assert not out.exists()


def test_bars_that_are_not_in_the_lake_yet_are_asked_for(tmp_path: Path) -> None:
    place = Place(tmp_path, minutes=30, is_smooth=True)
    place.world.run()
    place.lake.table("bars", BAR_SCHEMA).delete_range(
        commit_key="gone", venue="binance", instruments=[ETH.symbol], start=START + 9 * MINUTE, end=None
    )
    with pytest.raises(
        NotFound, match=r"21 bars in the lake.*ETHUSDT of 2024-01-02 00:09: run data_pipeline"
    ):
        place.export(tmp_path / "b.zip")


def test_no_secret_is_in_a_bundle(place: Place, bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as opened:
        manifest = json.loads(opened.read("manifest.json"))
        content = b"".join(opened.read(name) for name in opened.namelist())
    assert set(manifest["terms"]) == {"autotrader", "strategy", "trading", "risk", "paper"}
    for word in (b"api_key", b"secret", b"password", b"token"):
        assert word not in content.lower()
