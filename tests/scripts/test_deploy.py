"""The systemd units keep the contract, and `deploy/setup.sh` may be run as often as one likes."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETUP = ROOT / "deploy/setup.sh"
BACKUP = ROOT / "deploy/systemd/autotrader-backup.service"
UNITS = sorted(set((ROOT / "deploy/systemd").glob("*.service")) - {BACKUP})
NAMES = [unit.name for unit in (*UNITS, BACKUP, BACKUP.with_suffix(".timer"))]
DRAIN_SECONDS = 10  # contract: a trader ends within
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt-get install systemd"
)


def setup(prefix: Path, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [SETUP, "--prefix", str(prefix), "--no-packages", *options],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stderr
    return done


def state_of(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Mode, time of change and content of all that is there."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine below a folder, with what systemd itself brings."""
    prefix = tmp_path_factory.mktemp("machine")
    setup(prefix)
    python = prefix / "opt/autotrader/venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    return prefix


class Unit:
    """A unit file's settings; a name may be given more than once."""

    def __init__(self, path: Path) -> None:
        class Repeated(dict[str, str]):
            def __setitem__(self, name: str, value: object) -> None:
                if name in self and isinstance(value, list):
                    value = [*self[name], *value]
                super().__setitem__(name, value)  # type: ignore[assignment]

        parser = configparser.RawConfigParser(dict_type=Repeated, strict=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(path)
        self.settings = {
            f"{part}.{name}": value for part in parser.sections() for name, value in parser[part].items()
        }

    def __getitem__(self, name: str) -> str:
        return self.settings[name]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_keeps_the_contract(unit: Path) -> None:
    said = Unit(unit)
    assert {name: said[f"Unit.{name}"] for name in ("StartLimitBurst", "StartLimitIntervalSec")} == {
        "StartLimitBurst": "5", "StartLimitIntervalSec": "600",
    }  # fmt: skip
    assert {"postgresql.service", "redis-server.service"} <= set(said["Unit.After"].split())
    expected = {
        "Restart": "always",
        "RestartSec": "10",
        "LimitNOFILE": "65536",
        "NoNewPrivileges": "yes",
        "PrivateTmp": "yes",
        "ProtectSystem": "strict",
        "User": "autotrader",
        "EnvironmentFile": "/etc/autotrader/autotrader.env",
    }
    assert {name: said[f"Service.{name}"] for name in expected} == expected
    app = unit.stem.removeprefix("autotrader-")
    assert said["Service.ExecStart"] == f"/opt/autotrader/venv/bin/python -m autotrader.apps.{app}"
    assert said["Service.StandardOutput"] == f"append:/var/log/trading-bot/{app}.log"
    assert "/var/log/trading-bot" in said["Service.ReadWritePaths"].split()
    assert int(said["Service.TimeoutStopSec"]) > DRAIN_SECONDS


def test_the_trader_has_two_gigabytes_and_is_asked_to_end_before_it_is_killed() -> None:
    said = Unit(ROOT / "deploy/systemd/autotrader-trader.service")
    assert said["Service.MemoryMax"] == "2G"
    assert said["Service.KillMode"] == "mixed"  # SIGTERM, the default, to the process itself


def test_ending_the_controller_leaves_the_prediction_services_running() -> None:
    assert Unit(ROOT / "deploy/systemd/autotrader-controller.service")["Service.KillMode"] == "process"


def test_no_unit_names_a_secret() -> None:
    for unit in UNITS:
        assert not re.search(r"PASSWORD|SECRET|TOKEN|API_KEY", unit.read_text())


@needs_systemd
def test_systemd_finds_nothing_to_say_about_the_units(installed: Path) -> None:
    own = installed / "usr/lib/systemd/system"
    if not own.exists():
        shutil.copytree("/usr/lib/systemd/system", own, symlinks=True)
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={installed}", "--man=no", *NAMES],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "autotrader" in line]
    assert (done.returncode, ours) == (0, [])


def test_a_backup_is_made_every_day_and_brought_back_to_see_that_it_can_be() -> None:
    timer, service = Unit(BACKUP.with_suffix(".timer")), Unit(BACKUP)
    assert timer["Timer.Persistent"] == "true"
    assert timer["Timer.OnCalendar"].startswith("*-*-* ")
    assert service["Service.Type"] == "oneshot"
    python = "/opt/autotrader/venv/bin/python"
    assert service["Service.ExecStart"] == f"{python} -m autotrader.continuity backup"
    assert service["Service.ExecStartPost"] == f"{python} -m autotrader.continuity verify"


@needs_systemd
@pytest.mark.parametrize("unit", [name for name in NAMES if name.endswith(".service")])
def test_a_unit_is_exposed_to_little(installed: Path, unit: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--root={installed}", "--threshold=20", unit],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    setup(tmp_path)
    before = state_of(tmp_path)
    assert setup(tmp_path).stderr == "nothing to change\n"
    assert state_of(tmp_path) == before


def test_what_was_changed_is_put_right_and_the_environment_is_left_alone(tmp_path: Path) -> None:
    setup(tmp_path)
    unit = tmp_path / "etc/systemd/system/autotrader-trader.service"
    unit.write_text("[Service]\n")
    environment = tmp_path / "etc/autotrader/autotrader.env"
    environment.write_text("AUTOTRADER_ENVIRONMENT=production\n")
    (tmp_path / "var/log/trading-bot").chmod(0o777)
    told = setup(tmp_path).stderr
    assert unit.read_bytes() == (ROOT / "deploy/systemd/autotrader-trader.service").read_bytes()
    assert environment.read_text() == "AUTOTRADER_ENVIRONMENT=production\n"
    assert (tmp_path / "var/log/trading-bot").stat().st_mode & 0o777 == 0o750
    assert told.count("\n") == 3  # the unit, the folder, what to do next


def test_the_environment_file_is_not_for_everybody(installed: Path) -> None:
    assert (installed / "etc/autotrader/autotrader.env").stat().st_mode & 0o777 == 0o640


def test_a_dry_run_says_what_it_would_do_and_does_nothing(tmp_path: Path) -> None:
    told = setup(tmp_path / "machine", "--dry-run").stderr
    assert "would write " in told
    assert not (tmp_path / "machine").exists()


def test_all_that_the_machine_starts_is_named_to_whoever_starts_it_by_hand(tmp_path: Path) -> None:
    """By the script, the manual, its table and the upgrade; the service of a timer is started by that."""
    own = {unit.removesuffix(".service") for unit in NAMES if unit != BACKUP.name}
    told = setup(tmp_path).stderr.rpartition("systemctl start ")[2]
    assert set(told.split()) == own
    for page in ("docs/user-manual.md", "docs/upgrading.md"):
        text = (ROOT / page).read_text().replace("\\\n", " ")
        started = re.findall(r"^sudo systemctl start ([^#\n]+)", text, re.MULTILINE)
        assert set(" ".join(started).split()) == own, page
    table = re.findall(
        r"^\| `(autotrader-[a-z.]+)` \|", (ROOT / "docs/user-manual.md").read_text(), re.MULTILINE
    )
    assert set(table) == own


def test_an_unknown_option_is_refused_and_help_is_the_header(tmp_path: Path) -> None:
    assert setup(tmp_path, "--prefx", check=False).returncode == 2
    shown = subprocess.run([SETUP, "--help"], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.startswith("Set this machine up")
    assert "--dry-run" in shown.stdout


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="needs logrotate: apt-get install logrotate")
def test_logs_are_rotated_while_they_are_held_open(tmp_path: Path) -> None:
    logs = tmp_path / "log"
    logs.mkdir(mode=0o750)
    rules = (ROOT / "deploy/logrotate/autotrader").read_text().replace("/var/log/trading-bot", str(logs))
    (tmp_path / "rules").write_text(rules)
    (tmp_path / "rules").chmod(0o644)
    with (logs / "trader.log").open("ab", buffering=0) as held:
        held.write(b"before\n")
        command = [
            shutil.which("logrotate") or "",
            "--force",
            "--state",
            tmp_path / "state",
            tmp_path / "rules",
        ]
        subprocess.run(command, check=True, timeout=240, env={**os.environ, "LC_ALL": "C"})
        held.write(b"after\n")
    rotated = [path for path in logs.iterdir() if path.name != "trader.log"]
    assert (logs / "trader.log").read_bytes() == b"after\n"
    assert [path.read_bytes() for path in rotated] == [b"before\n"]
