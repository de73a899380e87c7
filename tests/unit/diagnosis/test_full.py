"""The full report holds what helps, and nothing secret."""

from __future__ import annotations

import json
import tarfile
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.config.settings import load_settings
from autotrader.diagnosis import sections
from autotrader.diagnosis.full import full
from autotrader.diagnosis.masking import Mask
from autotrader.diagnosis.sections import SECTIONS, pipelines
from autotrader.domain.thresholds import READINESS
from tests.fakes.airflow_parts import Airflow
from tests.fakes.airflow_server import serve
from tests.services import free_port, fresh_database

SECRETS = {
    "AUTOTRADER_BINANCE__API_KEY": "kX7bKey-of-binance",
    "AUTOTRADER_BINANCE__API_SECRET": "s3cr3t-of-binance",
    "AUTOTRADER_AIRFLOW__PASSWORD": "pw-of-airflow",
    "AUTOTRADER_ALERTS__SLACK_URL": "https://hooks.slack.test/services/T01/B02/zzTop9",
    "AUTOTRADER_MAIL__PASSWORD": "pw of mail/with signs",
    "AUTOTRADER_ALERTS__PAGERDUTY_KEY": "pagerduty-key-1",
    "AIRFLOW__CORE__FERNET_KEY": "fernet-of-airflow=",
    "AWS_SECRET_ACCESS_KEY": "secret-of-aws",
}
FILES = {
    "serving.token": "token-of-serving",
    "airflow/passwords.json": json.dumps({"admin": "made-for-airflow"}),
    "monitoring/secrets/platform-token": "token-of-the-platform",
    "airflow/airflow.cfg": "[api]\nsecret_key = key-in-airflow-cfg\nexpose = True\n",
}
IN_FILES = ("token-of-serving", "made-for-airflow", "token-of-the-platform", "key-in-airflow-cfg")
# Nobody has set these: their form gives them away.
BY_FORM = ("ey-of-a-stranger", "pw-in-a-url", "in-json-text")


@pytest.fixture
def furnished(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home.mkdir()
    fresh_database("sqlite", home)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AUTOTRADER_MAIL__RECIPIENTS", "operators@example.org")
    for name in ("SERVING__BLUE", "SERVING__GREEN", "API_", "TRADING__METRICS", "MONITORING__EXPORTER",
                 "MONITORING__PROMETHEUS", "MONITORING__ALERTMANAGER", "AIRFLOW_", "MLFLOW_"):  # fmt: skip
        monkeypatch.setenv(f"AUTOTRADER_{name}_PORT", str(free_port()))
    monkeypatch.setenv("AUTOTRADER_BINANCE__REST_URL", f"http://127.0.0.1:{free_port()}")
    for name, text in FILES.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    everything = [*SECRETS.values(), *IN_FILES]
    entry = {"level": "error", "logger": "x", "timestamp": "2100-01-01T00:00:00Z"}
    lines = [{**entry, "message": f"failed with {secret}"} for secret in everything]
    by_form = (
        f"Bearer {BY_FORM[0]}",
        f"postgresql://u:{BY_FORM[1]}@db/x",
        'sent {"password": "' + BY_FORM[2] + '"}',
    )
    lines += [{**entry, "message": f"of form: {text}"} for text in by_form]
    log = home / "processes" / "api.log"
    log.parent.mkdir()
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return home


def parts_of(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        found = {}
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file
            found[member.name.partition("/")[2]] = file.read().decode()
        return found


def test_the_report_has_every_section_and_no_secret(furnished: Path) -> None:
    result = full(settings=load_settings(), clock=SystemWallClock())
    (path,) = (furnished / "diagnosis").iterdir()
    assert str(path) in result.text
    assert path.stat().st_mode & 0o777 == 0o600
    parts = parts_of(path)
    assert set(parts) == set(SECTIONS)
    for secret in (*SECRETS.values(), *IN_FILES, *BY_FORM):
        for name, text in parts.items():
            assert secret not in text, (name, secret)
            assert json.dumps(secret)[1:-1] not in text, (name, secret)
    assert "failed with ***" in parts["logs.txt"]
    assert "zzTop9" not in "".join(parts.values())


def test_each_section_holds_what_it_is_for_or_says_why_not(furnished: Path) -> None:
    result = full(settings=load_settings(), clock=SystemWallClock())
    (path,) = (furnished / "diagnosis").iterdir()
    parts = parts_of(path)
    assert "sqlalchemy==" in parts["versions.txt"].lower()
    assert '"strategy_id": "autotrader-strategy"' in parts["settings.json.txt"]
    assert "set in the environment: " in parts["settings.json.txt"]
    assert "10 stages:" in parts["health.txt"]
    assert "failed with ***" in parts["errors.txt"]
    assert parts["alerts.txt"].strip() == "no alerts"
    assert "live        nothing" in parts["deployment.txt"]
    assert parts["pipelines.txt"].startswith("not available: Airflow at")
    assert "pipelines.txt: not available" in result.text
    assert "GiB free at" in parts["disk.txt"]
    assert "rows  events" in parts["databases.txt"]
    assert parts["processes.txt"].startswith("nothing runs here")


def test_on_an_empty_machine_it_is_written_where_asked_and_makes_no_home(home: Path, tmp_path: Path) -> None:
    full(folder=tmp_path / "out", settings=load_settings(), clock=SystemWallClock())
    (path,) = (tmp_path / "out").iterdir()
    assert "not there yet" in parts_of(path)["databases.txt"]
    assert not home.exists()


def test_a_section_that_hangs_is_told_of(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for_ever = threading.Event()
    hanging = {"hangs.txt": lambda _: str(for_ever.wait(60))}  # a real one would go on into the next test
    monkeypatch.setattr("autotrader.diagnosis.full.SECTIONS", hanging)
    result = full(section_seconds=0.05, settings=load_settings(), clock=SystemWallClock())
    for_ever.set()
    assert "hangs.txt: not available: no answer within 0.05 s" in result.text


def test_the_longest_secret_goes_first_and_short_ones_stay(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTRADER_AIRFLOW__PASSWORD", "abcd")
    monkeypatch.setenv("AUTOTRADER_BINANCE__API_SECRET", "abcdefgh")
    monkeypatch.setenv("AUTOTRADER_OANDA__TOKEN", "abc")
    mask = Mask(load_settings())
    assert mask.text("abcdefgh abcd abc") == "*** *** abc"


def test_of_airflow_there_are_parts_runs_and_what_waits(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = Airflow(queues=["default", "default"], paused={"backtest"}, broken={"x.py": "SyntaxError: no"})
    airflow.add("data_pipeline", "run-7", "failed", datetime(2026, 3, 1, 12, tzinfo=UTC))
    monkeypatch.setattr(sections, "READINESS", replace(READINESS, answer_seconds=60.0))
    with serve(airflow) as url:
        monkeypatch.setenv("AUTOTRADER_AIRFLOW__URL", url)
        told = pipelines(load_settings())
    for line in (
        "scheduler: healthy",
        "waiting in default: 2",
        "import error in x.py: SyntaxError: no",
        "backtest (paused)",
        "  failed    2026-03-01 11:55:00 to 2026-03-01 12:00:00  run-7",
    ):
        assert line in told.splitlines(), line
