"""Where the prediction services listen on this machine, as Prometheus and our own readers of pages find it.

The port of a colour moves where another process has the usual one. Whoever starts the colour writes a file of
Prometheus' service discovery, which Prometheus reads again by itself when it changes.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from autotrader.domain.errors import BadData, DependencyError
from autotrader.domain.rollout import Color

PATTERN = "colours/*.json"  # as prometheus.yml has it, beside which they are


def of_home(home: Path) -> Path:
    """The folder of files that the Prometheus reads which watches this home."""
    return home.resolve() / "monitoring" / "prometheus" / "colours"


def service_of(color: Color) -> str:
    """What the colour is called where services are watched."""
    return f"prediction-{color}"


def tell_port(folder: Path, color: Color, port: int) -> None:
    """From now on the colour is read there.

    Raises
    ------
    DependencyError
        If it cannot be written.
    """
    _write(_path(folder, color), _content(color, port), os.replace)


def expect_port(folder: Path, color: Color, port: int) -> None:
    """Until somebody starts the colour it is read there, and is down rather than forgotten.

    Raises
    ------
    DependencyError
        If it cannot be written.
    """
    with contextlib.suppress(FileExistsError):  # who has started it knows
        _write(_path(folder, color), _content(color, port), os.link)


def told_port(folder: Path, color: Color) -> int | None:
    """Where the colour is read; None where nobody has started it yet.

    Raises
    ------
    BadData
        If the file is none of ours.
    """
    path = _path(folder, color)
    try:
        (found,) = json.loads(path.read_text())
        return int(found["targets"][0].rpartition(":")[2])
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise BadData(f"expected a target of Prometheus in {path}, was something else: delete it") from error


def _content(color: Color, port: int) -> str:
    labels = {"service": service_of(color), "color": color.value}
    return json.dumps([{"targets": [f"127.0.0.1:{port}"], "labels": labels}]) + "\n"


def _write(path: Path, content: str, put: Callable[[Path, Path], None]) -> None:
    """The whole file at once: Prometheus may read it at any time."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(content)
        put(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:
        raise DependencyError(f"expected to write {path}, was: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _path(folder: Path, color: Color) -> Path:
    return folder / f"{color}.json"
