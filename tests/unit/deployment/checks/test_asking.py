"""A version that is returned to has golden predictions, though it was checked in another home."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from autotrader.apps.controller import preparation as preparation_module
from autotrader.apps.controller.preparation import Preparation
from autotrader.deployment import requests
from autotrader.deployment.checks.asking import ask_newest, golden_of
from autotrader.deployment.checks.golden import Golden, read_golden
from autotrader.deployment.checks.pre_deploy import PreDeployReport
from autotrader.deployment.checks.probes import Load
from autotrader.domain.errors import BadData
from autotrader.domain.rollout import DIRECT, Color, Outcome, Stage
from autotrader.ports.deployment import Release, Rollout, Slot, SlotState
from autotrader.ports.registry import ModelVersion
from autotrader.registry.onnx_model import OnnxModel
from tests.fakes.deployment import InMemoryDeploymentRecords
from tests.fakes.prediction_service import TOKEN, StandInService, served
from tests.fakes.small_market import Stores
from tests.unit.deployment.checks.platform import NAME, WALL, Desk, model_bytes, release_of


@dataclass
class Returned:
    """A version that is returned to: its bytes, and where its golden predictions should be."""

    desk: Desk
    version: ModelVersion
    release: Release

    @property
    def folder(self) -> Path:
        return self.desk.folder / "deployment" / "checks" / self.version.semver

    @property
    def file(self) -> Path:
        return Path(self.release.folder) / "model.onnx"

    def golden(self, folder: Path, version: ModelVersion, path: Path) -> Golden:
        return golden_of(folder, version, path, self.desk.stores.features, self.desk.settings)

    def get(self) -> Golden:
        return self.golden(self.folder, self.version, self.file)


@pytest.fixture
def returned(desk: Desk) -> Returned:
    return Returned(desk, desk.register(), release_of(desk.folder / "releases" / "v1.0.0", model_bytes()))


def test_they_are_made_as_the_checks_make_them_where_there_are_none_and_then_kept(returned: Returned) -> None:
    asked = ask_newest(
        returned.version, OnnxModel(returned.file), returned.desk.stores.features, returned.desk.settings
    )
    made = returned.get()
    assert made == asked.require_golden() == read_golden(returned.folder)
    assert (made.onnx_sha256, len(made.rows)) == (returned.version.onnx_sha256, 64)
    returned.file.unlink()
    assert returned.get() == made  # read


def test_a_file_that_cannot_be_read_is_as_none(returned: Returned) -> None:
    made = returned.get()
    (returned.folder / "golden.json").write_text("{")
    assert returned.get() == made


def test_where_neither_works_it_says_both(returned: Returned, tmp_path: Path) -> None:
    returned.desk.stores = Stores.filled(tmp_path / "empty", [])
    with pytest.raises(BadData, match=r"golden\.json, was no file.*no complete row of the model's features"):
        returned.get()


def test_inputs_that_are_none_of_this_feature_set_are_told(returned: Returned) -> None:
    strange = model_bytes(("no_such_feature",))
    returned.file.write_bytes(strange)
    with pytest.raises(BadData, match=r"expected features of balanced-v1, was no_such_feature"):
        returned.get()


def test_a_rollback_to_a_version_whose_checks_are_gone_passes_its_integration_tests(
    returned: Returned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a region failover: a way back has no stage of checks."""
    monkeypatch.setattr(preparation_module, "Load", partial(Load, p99_seconds=60))  # a machine may be busy
    records = InMemoryDeploymentRecords()
    begun = partial(requests.begin, records, strategy_id=NAME, version="v1.0.0", profile=DIRECT)
    rollout = begun(goal=Stage.FINALIZE, reason="test", actor="test", now=WALL, first=Stage.INTEGRATION_TESTS)

    def no_checks(rollout: Rollout, folder: Path) -> PreDeployReport:
        raise AssertionError("a way back has no such stage")

    preparation = Preparation(
        settings=returned.desk.settings.model_copy(update={"home": returned.desk.folder}),
        records=records,
        registry=returned.desk.registry,
        target=None,  # type: ignore[arg-type]  # it runs already
        prepare=lambda _: returned.release,
        checks=no_checks,
        golden=returned.golden,
        token=TOKEN,
        clock=returned.desk.wall,
    )
    shutil.rmtree(returned.folder, ignore_errors=True)
    with served(StandInService(returned.release, Color.BLUE)) as url:
        records.set_slot(Slot(Color.BLUE, SlotState.READY, "v1.0.0", None, url, "up", WALL, "controller"))
        result = preparation.integration_tests(rollout)
    assert result is not None
    assert result.outcome is Outcome.PASS, result.reason
    assert read_golden(returned.folder).version == "v1.0.0"
