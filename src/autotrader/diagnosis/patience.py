"""A part that hangs or breaks is told of, and holds up no other."""

from __future__ import annotations

import threading
from collections.abc import Callable

from autotrader.domain.errors import AutotraderError


def told(part: Callable[[], str], *, seconds: float) -> str:
    """What the part says, or why it says nothing."""
    said: list[str] = []

    def tell() -> None:
        try:
            said.append(part())
        except AutotraderError as error:
            said.append(f"not available: {error}")
        except Exception as error:  # noqa: BLE001 - a report of what is broken must not break
            said.append(f"not available: the section itself failed: {type(error).__name__}: {error}")

    # A daemon: what hangs must not keep the command from ending.
    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    thread.join(seconds)
    return said[0] if said else f"not available: no answer within {seconds:g} s"
