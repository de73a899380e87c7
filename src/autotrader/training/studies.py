"""Optuna's memory of a search as a SQLite file: one worker at a time, on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from autotrader.training.artifacts import exclusive

if TYPE_CHECKING:
    from optuna.storages import RDBStorage


class LocalStudies:
    """A file in each search's folder. A second worker waits until the first has ended."""

    @contextlib.contextmanager
    def open(self, folder: Path) -> Iterator[RDBStorage]:
        from optuna.storages import RDBStorage

        with exclusive(folder / "lock"):
            storage = RDBStorage(_database(folder.resolve()))
            try:
                yield storage
            finally:
                storage.remove_session()
                storage.engine.dispose()

    @contextlib.contextmanager
    def claim(self, name: str) -> Iterator[bool]:  # noqa: ARG002 - who has opened the study is alone
        yield True


def _database(folder: Path) -> str:
    """URL of the folder's own trial database, which gets its name when it is whole.

    SQLite commits every table and every index by itself: a kill between the two leaves studies
    whose names nothing keeps unique, and no later start mends that.
    """
    from optuna.storages import RDBStorage

    path = folder / "optuna.db"
    if not path.exists():
        for crumb in folder.glob("optuna.making*"):  # its journal too, which would undo the next one
            crumb.unlink()
        making = folder / "optuna.making"
        storage = RDBStorage(f"sqlite:///{making}")
        storage.remove_session()
        storage.engine.dispose()
        making.replace(path)
    return f"sqlite:///{path}"
