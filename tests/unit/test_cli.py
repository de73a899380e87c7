from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autotrader import __version__, cli, command
from autotrader.domain.errors import ExitCode

VERBS = {name: target for topic in cli.VERBS.values() for name, target in topic.items()}


def test_the_index_lists_every_verb_with_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == ExitCode.DONE
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    for name in VERBS:
        (summary,) = (line.removeprefix(name) for line in lines if line.startswith(f"{name} "))
        assert len(summary.split()) > 3, f"{name} has no summary"


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_explains_each_of_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main([*name.split(), "--help"])
    assert exit_.value.code == 0
    help_text = capsys.readouterr().out
    assert f"usage: autotrader {name}" in help_text
    assert "exit codes:" in help_text


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_also_runs_as_the_module_that_runbooks_call(name: str) -> None:
    module = VERBS[name].partition(":")[0]
    source = Path(command.load(VERBS[name]).__code__.co_filename)
    entry = source.with_name("__main__.py")
    runs = 'if __name__ == "__main__":'
    assert runs in source.read_text() or (entry.exists() and runs in entry.read_text()), module


def test_an_unknown_verb_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fly"]) == ExitCode.USAGE
    assert "was 'fly'" in capsys.readouterr().err


def test_the_installed_script_knows_its_version() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from autotrader.cli import main; main(['--version'])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"autotrader {__version__}"
