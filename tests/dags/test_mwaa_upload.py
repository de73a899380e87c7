"""`scripts/mwaa-upload.sh` as a process, against the local AWS."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.services import AWS_ENVIRONMENT, local_aws

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/mwaa-upload.sh"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("aws") is None, reason="needs the aws CLI"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with local_aws(tmp_path_factory.mktemp("aws")) as url:
        yield url


def upload(url: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **AWS_ENVIRONMENT, "AWS_ENDPOINT_URL": url, "AWS_MAX_ATTEMPTS": "1"}
    return subprocess.run(
        [SCRIPT, *words], env=environment, capture_output=True, text=True, check=False, timeout=280
    )


def bucket(url: str) -> Any:
    s3 = boto3.resource("s3", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="testing",
                        aws_secret_access_key="testing")  # fmt: skip
    return s3.Bucket("acme-airflow")


def test_it_writes_what_changed_and_deletes_what_is_no_dag_any_more(url: str) -> None:
    missing = upload(url, "acme")
    assert (missing.returncode, "cannot reach bucket acme-airflow" in missing.stderr) == (1, True)

    place = bucket(url)
    place.create(CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    place.Versioning().enable()
    place.put_object(Key="dags/old.py", Body=b"gone")

    dry = upload(url, "acme", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "would be written plugins.zip -" in dry.stdout
    assert "would be deleted dags/old.py -" in dry.stdout
    assert [o.key for o in place.objects.all()] == ["dags/old.py"]

    done = upload(url, "acme")
    assert done.returncode == 0, done.stderr
    lines = dict(reversed(line.rsplit(" ", 1)) for line in done.stdout.splitlines())
    assert place.Object("plugins.zip").version_id in lines
    assert {o.key for o in place.objects.all()} >= {"dags/data_pipeline.py", "requirements.txt", "startup.sh"}
    assert "dags/old.py" not in {o.key for o in place.objects.all()}

    again = upload(url, "acme")
    assert again.returncode == 0, again.stderr
    assert {line.split()[0] for line in again.stdout.splitlines()} == {"unchanged"}


@pytest.mark.parametrize("words", [[], ["Acme_"], ["acme", "beta"], ["acme", "--soon"]])
def test_a_wrong_call_is_refused_before_anything_is_asked(words: list[str]) -> None:
    assert upload("http://127.0.0.1:9", *words).returncode == 2
