"""The one seam to IB's client library: `ib_async` where installed, else its archived ancestor.

Both are of one author's making and share the names that are used here.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import logging
from types import ModuleType

from autotrader.domain.errors import ConfigurationError

LIBRARIES = ("ib_async", "ib_insync")


def load(choice: str) -> ModuleType:
    """The client library.

    Parameters
    ----------
    choice : str
        `auto` takes the first of `LIBRARIES` that is installed; else the name of one.

    Raises
    ------
    ConfigurationError
        If it is not installed.
    """
    wanted = LIBRARIES if choice == "auto" else (choice,)
    for name in wanted:
        if importlib.util.find_spec(name):
            # What goes wrong reaches the caller as an error of ours; the library logs it as well.
            logging.getLogger(name).setLevel(logging.CRITICAL)
            return _import(name)
    raise ConfigurationError(
        f"expected {' or '.join(wanted)} to be installed, was not: install autotrader[ibkr]"
    )


def _import(name: str) -> ModuleType:
    """Import it where a current event loop is at hand: their event library asks for one then.

    After an `asyncio.run` a thread has none.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.set_event_loop(asyncio.new_event_loop())
    return importlib.import_module(name)
