import importlib
import shutil
import sys
from pathlib import Path

import numba
import pytest

from autotrader.execution import compiled

CALLER = """
from costly.callee import cost
from costly.compiled import njit

@njit
def total(n):
    return n * cost(n)
"""
CALLEE = """
from costly.compiled import njit

@njit
def cost(n):
    return {rate} * n
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of two kernels, one of which calls the other, compiled as ours are."""
    folder = tmp_path / "costly"
    folder.mkdir()
    shutil.copy(compiled.__file__, folder / "compiled.py")
    (folder / "__init__.py").touch()
    (folder / "caller.py").write_text(CALLER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    return folder


def total_in_a_new_process(package: Path, *, rate: int) -> int:
    (package / "callee.py").write_text(CALLEE.format(rate=rate))
    for name in [name for name in sys.modules if name.partition(".")[0] == "costly"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    found: int = importlib.import_module("costly.caller").total(10)
    return found


def test_machine_code_on_disk_follows_a_change_in_another_file_that_it_calls(package: Path) -> None:
    assert total_in_a_new_process(package, rate=2) == 200
    assert list(package.parent.glob("kept/**/caller.total_*.nbc"))
    assert total_in_a_new_process(package, rate=300) == 30_000


def test_where_nothing_can_be_kept_kernels_still_run() -> None:
    scope: dict[str, object] = {"njit": compiled.njit}
    exec("@njit\ndef double(x):\n    return 2 * x", scope)  # noqa: S102 - a function without a file
    assert scope["double"](21) == 42  # type: ignore[operator]
