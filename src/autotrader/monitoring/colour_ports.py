"""Where the prediction services listen on this machine, as Prometheus and our own readers of pages find it.

The port of a colour moves where another process has the usual one. Whoever starts the colour writes a file of
Prometheus' service discovery, which Prometheus reads again by itself when it changes.
"""

from __future__ import annotations

import json
from pathlib import Path

from autotrader.domain.errors import BadData
from autotrader.domain.rollout import Color
from autotrader.files import write_atomically, write_new_atomically

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
    write_atomically(_path(folder, color), _content(color, port), durable=False)


def expect_port(folder: Path, color: Color, port: int) -> None:
    """Until somebody starts the colour it is read there, and is down rather than forgotten.

    Raises
    ------
    DependencyError
        If it cannot be written.
    """
    write_new_atomically(_path(folder, color), _content(color, port))  # who has started it knows


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


def _content(color: Color, port: int) -> bytes:
    labels = {"service": service_of(color), "color": color.value}
    return json.dumps([{"targets": [f"127.0.0.1:{port}"], "labels": labels}]).encode() + b"\n"


def _path(folder: Path, color: Color) -> Path:
    return folder / f"{color}.json"
