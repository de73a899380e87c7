"""What a container of a colour is to serve: a file below the home that all containers share.

Whoever deploys writes it, the container follows it (`autotrader.apps.serving.follow`).
"""

from __future__ import annotations

import json
from pathlib import Path

from autotrader.domain.errors import BadData, DependencyError
from autotrader.domain.rollout import Color
from autotrader.files import write_atomically


def order_path(home: Path, color: Color) -> Path:
    return home.resolve() / "deployment" / "orders" / f"{color}.json"


def read_order(home: Path, color: Color) -> str | None:
    """Folder of the release that is to be served; None where nothing is.

    Raises
    ------
    BadData
        If the file is none of ours.
    DependencyError
        If it cannot be read.
    """
    path = order_path(home, color)
    try:
        said = json.loads(path.read_text())
        return str(said["release"])
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise BadData(f'expected {{"release": FOLDER}} in {path}, was something else: delete it') from error
    except OSError as error:
        raise DependencyError(f"expected to read {path}, was: {error.strerror}") from error


def write_order(home: Path, color: Color, release: str) -> None:
    """Have this release served, at once or not at all; raises DependencyError."""
    write_atomically(order_path(home, color), json.dumps({"release": release}).encode())


def withdraw_order(home: Path, color: Color) -> None:
    """Have nothing served."""
    order_path(home, color).unlink(missing_ok=True)
