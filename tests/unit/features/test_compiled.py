"""Machine code is kept where it can be, found again, and never stale."""

from __future__ import annotations

from pathlib import Path

import numba
import pytest
from structlog.testing import capture_logs

from autotrader.features import compiled
from autotrader.features.kernels.evaluate import fill


def half(x: float) -> float:
    return x / 2


def test_an_entry_point_keeps_its_machine_code_in_the_named_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert compiled.entry_point(half)(3.0) == 1.5
    assert list(tmp_path.rglob("*half_*.nbc"))


def test_where_nothing_can_be_kept_it_compiles_and_says_so() -> None:
    scope: dict[str, object] = {"__name__": "nowhere"}
    exec(compile("def double(x):\n    return x * 2", "<no file>", "exec"), scope)  # noqa: S102
    with capture_logs() as logs:
        assert compiled.entry_point(scope["double"])(4.0) == 8.0  # type: ignore[type-var]
    assert [entry["event"] for entry in logs] == ["kernel_cache_unavailable"]
    assert "NUMBA_CACHE_DIR" in logs[0]["do"]


def test_changed_sources_of_any_kernel_are_compiled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kernels").mkdir()
    source = tmp_path / "kernels" / "some.py"
    for name in ("compiled", "definitions", "sessions"):
        (tmp_path / f"{name}.py").touch()
    monkeypatch.setattr(compiled, "_HERE", tmp_path)
    names = set()
    for text in ("one", "two", "one"):
        source.write_text(text)
        compiled._sources.cache_clear()
        names.add(compiled._sources())
    monkeypatch.undo()
    compiled._sources.cache_clear()
    assert len(names) == 2
    assert compiled._sources() in fill.__qualname__


def test_a_division_by_zero_is_no_exception() -> None:
    @compiled.kernel
    def inverse(x: float) -> float:
        return 1 / x

    assert inverse(0.0) == float("inf")
