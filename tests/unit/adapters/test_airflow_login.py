"""The login of Airflow's API, while one process makes it and others read it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from autotrader.adapters.airflow_login import PASSWORDS, folder, keep_password, password
from autotrader.config.settings import Settings


@pytest.mark.usefixtures("home")
def test_a_login_that_was_made_is_kept_for_its_owner_alone() -> None:
    settings = Settings()
    keep_password(settings)
    kept = folder(settings) / PASSWORDS
    assert json.loads(kept.read_text()) == {settings.airflow.user: password(settings)}
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    made = kept.stat().st_mtime_ns, password(settings)
    keep_password(settings)
    assert (kept.stat().st_mtime_ns, password(settings)) == made
    assert [path.name for path in kept.parent.iterdir()] == [PASSWORDS]


@pytest.mark.usefixtures("home")
def test_whoever_reads_the_login_while_it_is_written_is_not_disturbed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings, replace = Settings(), Path.replace
    reads = []

    def replace_between_reads(path: Path, target: Path) -> Path:
        reads.append(password(settings))
        replaced = replace(path, target)
        reads.append(password(settings))
        return replaced

    monkeypatch.setattr(Path, "replace", replace_between_reads)
    keep_password(settings)
    assert len(reads) == 2


@pytest.mark.usefixtures("home")
def test_a_kill_amid_the_writing_costs_no_later_start_its_login(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _killed)
        with pytest.raises(KeyboardInterrupt):
            keep_password(settings)
    keep_password(settings)
    assert json.loads((folder(settings) / PASSWORDS).read_text()) == {"admin": password(settings)}


def _killed(*_: object) -> None:
    raise KeyboardInterrupt
