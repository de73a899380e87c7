"""Releases in S3, where the tasks of both colours fetch them: `s3://<prefix>-models/releases/<version>/`."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path

from autotrader.adapters.releases import MODEL_FILE, RELEASE_FILE, describe_release, install_release
from autotrader.adapters.s3_bucket import S3Bucket
from autotrader.config.aws_names import AwsNames, Bucket
from autotrader.config.settings import Settings
from autotrader.domain.errors import BadData, NotFound, Refused
from autotrader.plain import from_plain
from autotrader.ports.deployment import Release


class S3Releases:
    """Written once, and never over: of two who put another release under one version, one is refused."""

    def __init__(self, settings: Settings) -> None:
        self._aws = settings.aws
        self._name = AwsNames.of(settings).bucket(Bucket.MODELS)

    @cached_property
    def _bucket(self) -> S3Bucket:
        return S3Bucket(self._aws, self._name)

    def put(self, release: Release) -> str:
        key = f"releases/{release.version}"
        folder = Path(release.folder)
        # The description is last: where it lies, all does.
        self._put_once(f"{key}/{MODEL_FILE}", (folder / MODEL_FILE).read_bytes(), release)
        description = json.dumps(describe_release(release), indent=2, sort_keys=True).encode()
        self._put_once(f"{key}/{RELEASE_FILE}", description, release)
        return f"s3://{self._name}/{key}"

    def fetch(self, uri: str, onnx_sha256: str, folder: Path) -> Release:
        name, _, key = uri.removeprefix("s3://").partition("/")
        bucket = S3Bucket(self._aws, name)
        described = _read(bucket, f"{key}/{RELEASE_FILE}")
        try:
            plain = json.loads(described)
        except ValueError:
            raise BadData(f"expected JSON in {uri}/{RELEASE_FILE}, was something else") from None
        release = from_plain(Release, {**plain, "folder": str(folder)})
        if release.onnx_sha256 != onnx_sha256:
            raise BadData(
                f"expected {uri} to be of the model with SHA-256 {onnx_sha256}, was {release.onnx_sha256}: "
                "do not use it, and find out who changed it"
            )

        def bring(partial: Path) -> Path:
            partial.mkdir(parents=True)
            (partial / MODEL_FILE).write_bytes(_read(bucket, f"{key}/{MODEL_FILE}"))
            return partial / MODEL_FILE

        install_release(release, bring)
        return release

    def _put_once(self, key: str, content: bytes, release: Release) -> None:
        bucket, sha256 = self._bucket, hashlib.sha256(content).hexdigest()
        try:
            lies_there = bucket.sha256(key)
        except FileNotFoundError:
            if bucket.write_new(key, content):
                return
            lies_there = bucket.sha256(key)  # somebody was quicker
        if lies_there != sha256:
            raise Refused(
                f"expected {release.version} in s3://{bucket.name}/{key} to have SHA-256 {sha256}, was "
                f"{lies_there}: a version is released once; find out who wrote it, and register the model "
                "anew"
            )


def _read(bucket: S3Bucket, key: str) -> bytes:
    try:
        return bucket.read(key)
    except FileNotFoundError:
        raise NotFound(f"expected a release in s3://{bucket.name}/{key}, was nothing: deploy again") from None
