"""`scripts/monitoring.sh` starts, shows and stops, as often as one likes."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autotrader.domain.thresholds import READINESS
from tests.monitoring.parts import UNWATCHED_MOUNTS
from tests.services import free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Prometheus and Alertmanager"),
]


def test_it_starts_twice_says_what_is_up_and_leaves_nothing_behind(tmp_path: Path) -> None:
    home = tmp_path / "home"
    environment = {
        **os.environ,
        "AUTOTRADER_HOME": str(home),
        "AUTOTRADER_MONITORING__PROMETHEUS_PORT": str(free_port()),
        "AUTOTRADER_MONITORING__ALERTMANAGER_PORT": str(free_port()),
    }

    def monitoring(word: str) -> subprocess.CompletedProcess[str]:
        command = ["scripts/monitoring.sh", word, "--native"]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=240, check=False
        )

    try:
        first, second = monitoring("start"), monitoring("start")
        assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
        assert "started   prometheus" in first.stderr
        assert "running   prometheus" in second.stderr
        secrets = home / "monitoring" / "secrets"
        assert stat.S_IMODE((secrets / "platform-token").stat().st_mode) == 0o600
        shown = monitoring("status")
        assert shown.returncode == 0
        assert "up      alertmanager" in shown.stdout
    finally:
        stopped = monitoring("stop")
    assert stopped.returncode == 0
    assert monitoring("status").returncode == 1


def test_another_word_is_refused() -> None:
    done = subprocess.run(["scripts/monitoring.sh", "restart"], capture_output=True, timeout=240, check=False)

    assert done.returncode == 2


BEGIN_NODE = """
set -euo pipefail
root=$PWD folder=$1
for name in log steps monitoring; do . "scripts/lib/$name.sh"; done
node_port=1
is_taken() { [ -e "$folder/taken" ]; }
begin_node
"""


def begin_node(folder: Path) -> subprocess.CompletedProcess[str]:
    """What our scripts do with the node exporter that lies there."""
    return subprocess.run(
        ["bash", "-c", BEGIN_NODE, "begin", folder],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(("taken", "code"), [("by another", 0), ("by nobody", 1)])
def test_a_node_exporter_that_another_platform_began_meanwhile_is_as_good(
    taken: str, code: int, tmp_path: Path
) -> None:
    node = tmp_path / "prometheus-node-exporter"
    node.write_text(f"#!/bin/sh\n[ '{taken}' = 'by nobody' ] || touch {tmp_path}/taken\nexit 1\n")
    node.chmod(0o755)
    done = begin_node(tmp_path)
    assert (done.returncode, "node-exporter ended" in done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize("mounted", ["/", "/home", "/mnt/data", "/media/disk"])
def test_a_disk_is_watched_wherever_it_is_mounted(mounted: str, tmp_path: Path) -> None:
    """Debian's node exporter leaves out /mnt and /media when nothing is said."""
    node = tmp_path / "prometheus-node-exporter"
    node.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/told\ntouch {tmp_path}/taken\nexit 1\n')
    node.chmod(0o755)
    done = begin_node(tmp_path)
    assert done.returncode == 0, done.stderr
    assert UNWATCHED_MOUNTS in (tmp_path / "told").read_text().splitlines()
    pattern = re.compile(UNWATCHED_MOUNTS.partition("=")[2])
    assert (pattern.search(mounted), bool(pattern.search("/proc/sys"))) == (None, True)


# ---------------------------------------------------------------------------- the token of the platform

MAKE_TOKEN = """
set -euo pipefail
root=$PWD folder=$1 AUTOTRADER_PYTHON=$2
for name in log steps monitoring; do . "scripts/lib/$name.sh"; done
platform() {
  case $1 in
    *list_tokens) cat "$folder/tokens" ;;
    *create_token) echo '{"token": "atk_0000000000ff_new"}' ;;
  esac
}
make_token platform
"""
HELD = "0123456789ab"


@pytest.mark.parametrize(
    ("tokens", "is_made_anew"),
    [
        ([(HELD, "in force", 61)], False),
        ([(HELD, "in force", READINESS.token_days)], True),  # when prod-check begins to warn
        ([(HELD, "revoked", 80), ("another", "in force", 80)], True),
        ([], True),  # as after a restore of an older database
        (None, False),
    ],
    ids=["lasts", "ends soon", "revoked", "unknown", "cannot be asked"],
)
def test_a_token_is_made_anew_unless_the_platform_knows_that_it_lasts(
    tokens: list[tuple[str, str, float]] | None, is_made_anew: bool, tmp_path: Path
) -> None:
    file = tmp_path / "secrets" / "platform-token"
    file.parent.mkdir()
    file.write_text(f"atk_{HELD}_held")
    if tokens is not None:
        now = datetime.now(UTC)
        rows = [
            {"id": i, "state": state, "expires_at": (now + timedelta(days=days)).isoformat()}
            for i, state, days in tokens
        ]
        (tmp_path / "tokens").write_text(json.dumps({"tokens": rows}))
    done = subprocess.run(
        ["bash", "-c", MAKE_TOKEN, "make", tmp_path, sys.executable],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert file.read_text() == ("atk_0000000000ff_new" if is_made_anew else f"atk_{HELD}_held")
    assert ("could not be asked" in done.stderr) == (tokens is None)


# ---------------------------------------------------------------------------- in containers

# Stands for Docker, which is not here: it notes what it is asked, and answers as far as the script reads it.
DOCKER = """#!/usr/bin/env bash
printf '%s|%s|%s\\n' "$MONITORING_FOLDER" "$MONITORING_USER" "$*" >>"$DOCKER_ASKED"
case "$*" in
  *list_tokens*)
    row='"id": "0ff1ce", "state": "in force", "expires_at": "2999-01-01T00:00:00+00:00"'
    echo "{\\"tokens\\": [{$row}]}" ;;
  *' exec '*) echo '{"token": "atk_0ff1ce_of-tests"}' ;;
  *' ps '*) printf 'grafana\\nalertmanager\\n' ;;
  *'config --services') printf 'prometheus\\ngrafana\\nalertmanager\\n' ;;
esac
"""


@pytest.fixture
def in_containers(tmp_path: Path) -> dict[str, str]:
    """An environment with that Docker, and a home."""
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{docker.parent}:{os.environ['PATH']}",
        "AUTOTRADER_HOME": str(tmp_path / "home"),
        "DOCKER_ASKED": str(tmp_path / "asked"),
    }


def in_docker(word: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["scripts/monitoring.sh", word]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


def test_containers_get_this_platforms_files_and_a_token_that_others_cannot_read(
    in_containers: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "home" / "monitoring-compose"
    for _ in range(2):
        done = in_docker("start", in_containers)
        assert done.returncode == 0, done.stderr

    token = folder / "secrets" / "platform-token"
    assert (token.read_text(), stat.S_IMODE(token.stat().st_mode)) == ("atk_0ff1ce_of-tests", 0o600)
    assert '"postgres-exporter:9187"' in (folder / "prometheus" / "prometheus.yml").read_text()
    assert "Redis connections" in (folder / "dashboards" / "platform_operations.json").read_text()
    assert {path.name for path in (folder / "data").iterdir()} == {"prometheus", "alertmanager", "grafana"}
    asked = [line.split("|") for line in (tmp_path / "asked").read_text().splitlines()]
    commands = [command for *_, command in asked if "version" not in command]
    file = "compose --file docker-compose.monitoring.yml"
    assert sum("create_token" in command for command in commands) == 1, "a token that lasts is left alone"
    assert commands[-2:] == [
        f"{file} up --detach --wait",
        f"{file} kill --signal SIGHUP prometheus alertmanager",
    ]
    assert asked[-1][:2] == [str(folder), f"{os.getuid()}:{os.getgid()}"]


def test_a_part_that_is_not_up_is_told_and_stopping_leaves_the_platforms_network(
    in_containers: dict[str, str], tmp_path: Path
) -> None:
    shown = in_docker("status", in_containers)

    assert shown.returncode == 1
    assert shown.stdout.splitlines() == ["up      alertmanager", "up      grafana", "down    prometheus"]
    assert in_docker("stop", in_containers).returncode == 0
    last = (tmp_path / "asked").read_text().splitlines()[-1]
    assert last.endswith("compose --file docker-compose.monitoring.yml rm --stop --force")
