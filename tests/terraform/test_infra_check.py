"""`scripts/infra-check.sh` as a process: what is wrong makes it fail, and it says what that is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIDY = 'variable "environment" {\n  type = string\n}\n\nvariable "prefix" {\n  type = string\n}\n'
VARIABLES = TIDY + 'variable "airflow" {\n  type = any\n}\n\nvariable "max_retries" {\n  type = number\n}\n'
ENVIRONMENTS = ("dev", "staging", "production")
OPEN_POLICY = """resource "aws_iam_policy" "everything" {
  name = "everything"
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "*", Resource = "*" }]
  })
}
"""
FAILING_TEST = """run "wrong" {
  command = plan

  variables {
    environment = "dev"
    prefix      = "mine"
  }

  assert {
    condition     = output.name == "another"
    error_message = "Expected another, was ${output.name}."
  }
}
"""
NAMED = 'output "name" {\n  value = "${var.prefix}-${var.environment}"\n}\n'

pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="needs Terraform: see its own pages"),
]


def check(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts/infra-check.sh", *map(str, words)],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=1000,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A root without resources, in which nothing is wrong."""
    made = tmp_path / "terraform"
    (made / "modules/names/tests").mkdir(parents=True)
    (made / "modules/names/variables.tf").write_text(TIDY)
    (made / "modules/names/outputs.tf").write_text(NAMED)
    (made / "modules/names/versions.tf").write_text('terraform {\n  required_version = ">= 1.11"\n}\n')
    return made


def test_what_is_right_passes_and_leaves_nothing_behind(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    done = check("--folder", folder, "format", "modules")
    assert done.returncode == 0, done.stderr
    said = [line.split()[:2] for line in done.stderr.splitlines()]
    assert said == [["ok", "fmt"], ["ok", "init"], ["ok", "validate"]]
    assert sorted(folder.rglob("*")) == before


def test_an_unformatted_file_fails(folder: Path) -> None:
    (folder / "modules/names/outputs.tf").write_text(NAMED.replace("  value", " value"))
    done = check("--folder", folder, "format")
    assert done.returncode == 1
    assert "FAILED  fmt" in done.stderr
    assert "outputs.tf" in done.stderr


def test_a_reference_to_nothing_fails_and_the_rest_goes_on(folder: Path) -> None:
    (folder / "modules/names/main.tf").write_text("locals {\n  missing = var.absent\n}\n")
    done = check("--folder", folder, "modules", "format")
    assert done.returncode == 1
    assert "FAILED  validate modules/names" in done.stderr
    assert "var.absent" in done.stderr
    assert "ok      fmt" in done.stderr
    assert done.stderr.splitlines()[-1] == "infra-check.sh: failed: validate modules/names"


def test_a_test_that_fails_fails(folder: Path) -> None:
    (folder / "modules/names/tests/names.tftest.hcl").write_text(FAILING_TEST)
    done = check("--folder", folder, "modules")
    assert done.returncode == 1
    assert "Expected another, was mine-dev." in done.stderr


def test_a_configuration_file_that_is_named_and_missing_does_not_matter(folder: Path) -> None:
    done = check("--folder", folder, "modules", TF_CLI_CONFIG_FILE=str(folder / "missing"))
    assert done.returncode == 0, done.stderr


@pytest.mark.integration
@pytest.mark.timeout(1200)
def test_a_policy_that_allows_everything_fails(folder: Path) -> None:
    (folder / "modules/names/main.tf").write_text(OPEN_POLICY)
    done = check("--folder", folder, "security")
    assert done.returncode == 1
    assert "CKV_AWS_62" in done.stderr  # full administrative rights
    assert "aws_iam_policy.everything" in done.stderr


@pytest.mark.integration
@pytest.mark.timeout(1200)
def test_what_is_not_settled_by_an_apply_and_what_is_called_otherwise_fails(folder: Path) -> None:
    changing = 'resource "terraform_data" "now" {\n  input = timestamp()\n}\n'
    (folder / "main.tf").write_text(VARIABLES + changing)
    (folder / "environments").mkdir()
    for name in (*ENVIRONMENTS, "production-dr"):
        (folder / f"environments/{name}.tfvars").write_text(f'environment = "{name}"\nprefix = "mine"\n')
    done = check("--folder", folder, "--all", "environments")
    assert done.returncode == 1
    said = [
        line.rsplit(maxsplit=2)[0].rstrip() for line in done.stderr.splitlines() if line[:2] in {"ok", "FA"}
    ]
    assert said == [
        "ok      start the local AWS",
        "ok      init for the local AWS",
        *(line for name in ENVIRONMENTS for line in (f"ok      plan {name}", f"FAILED  names of {name}")),
        "ok      what production leaves for its DR region",
        "ok      plan production-dr",
        "FAILED  names of production-dr",
        "ok      apply dev",
        "FAILED  plan dev again: nothing to do",
        "ok      destroy dev",
    ]


@pytest.mark.parametrize("words", [("everything",), ("--folder",), ("--folder", "/nowhere/at/all")])
def test_what_cannot_be_meant_is_a_usage_error(words: tuple[str, ...]) -> None:
    done = check(*words)
    assert done.returncode == 2
    assert "expected" in done.stderr
