"""`make status`: what is up, the colours too."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from autotrader import command
from autotrader.adapters.local_target import LocalTarget
from autotrader.apps.stack.status import status
from autotrader.config.settings import Settings
from autotrader.domain.errors import ExitCode
from autotrader.domain.rollout import Color
from autotrader.ports.deployment import Release
from tests.fakes import deployment_server
from tests.services import free_port

SERVER = (sys.executable, "-S", str(Path(deployment_server.__file__)))


def test_a_home_in_which_nothing_runs_says_how_to_begin(home: Path) -> None:
    found = status(settings=Settings())
    assert found.exit_code is ExitCode.DONE
    assert found.text.splitlines() == [f"home      {home}", "nothing runs: `make quickstart` starts"]


def test_a_colour_that_answers_is_named_with_its_version(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AUTOTRADER_SERVING__BLUE_PORT", str(free_port()))
    settings = Settings()
    target = LocalTarget(settings, command=SERVER)
    release = Release("strategy", "v1.0.0", str(tmp_path / "v1.0.0"), "ab" * 32, "balanced-v1")
    deployment_server.write_release(Path(release.folder), "v1.0.0")
    target.start(Color.BLUE, release)
    try:
        deadline = time.monotonic() + 120
        while not target.health(Color.BLUE).ready:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert command.run(status, []) == ExitCode.DONE
        assert "prediction-blue       v1.0.0, ready" in capsys.readouterr().out
        assert command.run(status, ["--json"]) == ExitCode.DONE
        said = json.loads(capsys.readouterr().out)
        assert said["colors"]["blue"]["version"] == "v1.0.0"
        assert list(said["colors"]) == ["blue"]
    finally:
        target.stop(Color.BLUE)
