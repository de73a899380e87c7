"""What every script of operators keeps to: help, usage errors, and nothing done before both are right."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from autotrader.domain import thresholds
from tests.scripts.platform import ROOT, run_script

pytestmark = pytest.mark.component

WORDS = {
    "rollback_model_auto.sh": ("v1.1.0", "dev"),
    "rollback_model_manual.sh": ("v1.0.0", "v1.1.0", "dev"),
    "deploy_model.sh": ("v1.1.0", "dev"),
    "rollback_data.sh": ("2024-02-29",),
    "restore_data.sh": ("--date", "2024-02-29"),
    "restore_all_data.sh": (),
    "break_glass.sh": ("dev",),
}
WHY = ("--reason", "a test")


@pytest.mark.parametrize("script", WORDS)
def test_help_is_the_header_and_names_every_exit_code_and_the_common_options(script: str) -> None:
    shown = run_script(script, "--help")
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[2].startswith(f"usage: scripts/{script}")
    for word in ("--reason", "--dry-run", "--yes", "Exit codes: 0", "2 usage", " 3 ", "4 refused"):
        assert word in shown.stdout, word


@pytest.mark.parametrize("script", WORDS)
@pytest.mark.parametrize(
    "reason", [(), ("--reason", ""), ("--reason", "  "), ("--reason",), ("--reason", "a\nb")]
)
def test_a_reason_is_required(script: str, reason: tuple[str, ...], home: Path) -> None:
    done = run_script(script, *WORDS[script], *reason, "--yes")
    assert (done.returncode, "reason" in done.stderr) == (2, True), done.stderr
    assert not home.exists()


@pytest.mark.parametrize("script", WORDS)
def test_unknown_options_and_surplus_words_are_usage_errors(script: str) -> None:
    assert run_script(script, *WORDS[script], *WHY, "--froce").returncode == 2
    assert run_script(script, *WORDS[script], *WHY, "one", "too", "many").returncode == 2


@pytest.mark.parametrize(
    "words",
    [
        ("rollback_model_auto.sh", "latest", "dev"),
        ("rollback_model_auto.sh", "champion", "dev"),
        ("rollback_model_auto.sh", "", "dev"),
        ("rollback_model_auto.sh", "v1.1.0", "prod"),
        ("rollback_model_auto.sh", "v1.1.0", ""),
        ("rollback_model_auto.sh", "v1.1.0"),
        ("rollback_model_manual.sh", "v1.1.0", "dev"),
        ("rollback_model_manual.sh", "v1.0", "v1.1.0", "dev"),
        ("deploy_model.sh", "v1.1.0; ls", "dev"),
        ("deploy_model.sh", "v1.1.0", "dev", "--profile", "slow"),
        ("rollback_data.sh", "2024-02-30"),
        ("rollback_data.sh", "yesterday"),
        ("rollback_data.sh", "2024-02-29", "$(ls)"),
        ("rollback_data.sh", "2024-02-29", "--undo", "everything"),
        ("restore_data.sh",),
        ("restore_data.sh", "--date", ""),
        ("restore_data.sh", "--date", "29.2.2024"),
        ("restore_all_data.sh", "--undo", "../.."),
        ("break_glass.sh", "dev", "--color", "red"),
        ("break_glass.sh", "dev", "--color", "blue", "--undo"),
    ],
    ids=" ".join,
)
def test_bad_input_is_a_usage_error(words: tuple[str, ...], home: Path) -> None:
    done = run_script(*words, *WHY, "--yes")
    assert done.returncode == 2, done.stderr
    assert not home.exists()


def test_a_missing_python_is_told_and_how_to_get_it() -> None:
    done = run_script(
        "rollback_model_auto.sh", "v1.1.0", "dev", *WHY, environment={"AUTOTRADER_PYTHON": "/nowhere"}
    )
    assert (done.returncode, "run scripts/install.sh" in done.stderr) == (2, True)


def test_a_wrong_setting_is_told_with_its_name_and_no_value() -> None:
    wrong = {"AUTOTRADER_DEPLOYMENT__READY_SECONDS": "soon-and-secret"}
    done = run_script("rollback_model_auto.sh", "v1.1.0", "dev", *WHY, "--yes", environment=wrong)
    assert done.returncode == 2
    assert "AUTOTRADER_DEPLOYMENT__READY_SECONDS" in done.stderr
    assert "soon-and-secret" not in done.stderr


def test_the_targets_are_those_of_the_thresholds() -> None:
    text = (ROOT / "scripts/lib/rollback.sh").read_text()
    assert f"TRAFFIC_SECONDS={thresholds.ROLLBACK_TRAFFIC_SECONDS}\n" in text
    assert f"ROLLBACK_SECONDS={thresholds.ROLLBACK_SECONDS}\n" in text


def test_an_unset_variable_ends_a_script_and_an_empty_one_never_reaches_aws(tmp_path: Path) -> None:
    fake = tmp_path / "aws"
    fake.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/called\n')
    fake.chmod(0o755)
    # An unset region is one of these.
    libraries = "".join(f". {ROOT}/scripts/lib/{name}.sh\n" for name in ("log", "assert", "aws"))
    for call in (
        'region=eu-west-1 empty=; aws_call s3 ls "$empty"',
        'region=eu-west-1; aws_call s3 ls "$unset"',
        "aws_call s3 ls x",
    ):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", libraries + call],
            capture_output=True, text=True, check=False, timeout=60,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        )  # fmt: skip
        assert done.returncode != 0, call
    assert not (tmp_path / "called").exists()
