"""Versions of the model for pages that bring one live, or leave one."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from autotrader.bootstrap import open_ports
from autotrader.config.settings import Settings
from autotrader.deployment.deploy import WatchProfile
from autotrader.ports.deployment import DeploymentRecords, Rollout
from autotrader.ports.registry import ModelCandidate, ModelRegistry, ModelStatus
from autotrader.ports.tracking import ExperimentTracker
from tests.runbooks.stack import Stack

# As the pages write them, for example.
NEW, OLD = "v1.1.0", "v1.0.0"

Words = Mapping[str, str]


def register(stack: Stack, *, is_sound: bool = True) -> str:
    """A candidate that nobody has deployed: the live one, trained once more. Returns its name.

    Parameters
    ----------
    is_sound : bool
        Else its file says that it is of another training than the registry does.
    """
    ports = {"settings": Settings, "registry": ModelRegistry, "tracker": ExperimentTracker}
    with stack.entered(), open_ports(ports) as opened, tempfile.TemporaryDirectory() as name:
        registry: ModelRegistry = opened["registry"]
        model, folder, key = opened["settings"].strategy.strategy_id, Path(name), uuid.uuid4().hex[:24]
        live = registry.get(model, "champion")
        files = [file for file in json.loads(live.tags["digests"]) if file.startswith(("model.", "ref"))]
        paths = {file: registry.fetch_artifact(live, file, folder) for file in files}
        onnx_path = paths.pop("model.onnx")
        known = onnx.load(onnx_path)
        said = {prop.key: prop.value for prop in known.metadata_props}
        if is_sound:
            onnx.helper.set_model_props(known, said | {"training_key": key})
            onnx.save(known, onnx_path)
        (native,) = (file for file in paths if file.startswith("model."))
        judged = {"digests", "onnx_sha256", "semver", "status", "reason", "gates", "training_key"}
        candidate = ModelCandidate(
            name=model,
            training_key=key,
            onnx_path=onnx_path,
            native_path=paths.pop(native),
            feature_names=tuple(json.loads(said["feature_names"])),
            run_id=opened["tracker"].start_run(key=key, name=key),
            status=ModelStatus.CANDIDATE,
            reason="all enforced gates passed",
            tags={tag: value for tag, value in live.tags.items() if tag not in judged},
            attachments=paths,
        )
        return registry.register(candidate, actor="test").semver


def deploy(stack: Stack, version: str) -> Any:
    """Roll it out; returns what came of it."""
    return stack.ask("deploy", version=version, profile=WatchProfile.FAST, timeout_seconds=300.0)


def live(stack: Stack) -> Rollout:
    """That which brought the live version live."""
    with stack.entered(), open_ports({"records": DeploymentRecords}) as opened:
        found: Rollout = opened["records"].live()
        return found


def a_candidate(stack: Stack) -> Words:
    """A version that may be brought live in place of the one that is."""
    return {NEW: register(stack), OLD: live(stack).version}


def one_before(stack: Stack) -> Words:
    """A live version that may be left for the one before."""
    if live(stack).previous_version is None:
        deploy(stack, register(stack))
    found = live(stack)
    return {NEW: found.version, OLD: found.previous_version or ""}
