"""Results of training steps: named by content, published whole, read back as they were.

A step writes into a folder whose name is a hash of all that goes into it. The folder appears with
one rename when everything in it is on disk, so that a step killed at any instant leaves either
nothing or all, and the same step asked for again finds what is there.

Where steps run on machines that share no disk, the folder is a copy of what lies in a place that all
of them see. There the files come first, in a folder of the attempt's own, and then, unless another
attempt was quicker, the list that names them with their digests: by it alone is a result there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from autotrader.command import to_plain
from autotrader.data.places import bring, delete_folder, send, write_new, write_whole
from autotrader.domain.errors import BadData, NotFound
from autotrader.files import storage_errors, sync, write_atomically
from autotrader.plain import from_plain
from autotrader.ports.places import Place
from autotrader.training.artifacts import file_sha256

RESULT_FILE, LIST_FILE, USED_FILE = "result.json", "files.json", "used"

# A path below the folder as results tell it: the folder is another one on each machine.
_HERE = "training://"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Results:
    """The results of all runs. A result's name is its path below the folder, such as `dataset/<key>`.

    Attributes
    ----------
    folder : Path
        Of this machine, absolute.
    place : Place
        What all machines see: the folder itself where there is one machine.
    """

    folder: Path
    place: Place

    @property
    def is_shared(self) -> bool:
        return self.place != self.folder

    def uri(self, folder: str) -> str:
        """What one step tells another of a result whose folder on this machine that is."""
        return str(self.place / Path(folder).relative_to(self.folder).as_posix())

    def name(self, uri: str) -> str:
        """Of the result that a step was told.

        Raises
        ------
        NotFound
            If it was told where results lay elsewhere.
        """
        root = f"{self.place}/"
        if not uri.startswith(root):
            raise NotFound(f"expected a result below {root}, was {uri}: start the run again")
        return uri.removeprefix(root)

    def read(self, name: str, kind: type[T]) -> T:
        """`stored`; raises NotFound where nothing is published."""
        found = self.stored(name, kind)
        if found is None:
            raise NotFound(
                f"expected a {kind.__name__} in {self.place / name}, was nothing: start the run again"
            )
        return found

    def stored(self, name: str, kind: type[T]) -> T | None:
        """The published result of that name, its files in this machine's folder; None if there is none.

        It is marked as used now.

        Raises
        ------
        BadData
            If the file is there but cannot be read as `kind`, or a file is not what was published.
        Rejected, DependencyError
            If the storage does not let us.
        """
        folder = self.folder / name
        if self.is_shared and not self._bring(name):
            return None
        try:
            text = (folder / RESULT_FILE).read_text()
        except FileNotFoundError:
            return None
        with storage_errors(f"mark {folder} as used"):
            os.utime(folder)
        try:
            data = json.loads(text)
        except ValueError:
            raise BadData(
                f"expected JSON in {folder / RESULT_FILE}: delete the folder and run again"
            ) from None
        return from_plain(kind, _with_prefix(data, _HERE, f"{self.folder}/"))

    def write(self, staging: Path, result: object) -> None:
        """Put a step's result beside its files."""
        plain = _with_prefix(to_plain(result), f"{self.folder}/", _HERE)
        write_atomically(staging / RESULT_FILE, json.dumps(plain, indent=1).encode())

    @contextlib.contextmanager
    def published(self, name: str) -> Iterator[Path]:
        """A staging folder that becomes the result of that name when the block ends well.

        If another process published it meanwhile, that one stays, and is what `read` finds.

        Raises
        ------
        Rejected, DependencyError
            If the storage does not let us; nothing is left behind.
        """
        folder = self.folder / name
        with storage_errors(f"write {folder}"), _staging_of(folder) as staging:
            yield staging
            if self.is_shared:
                if self._send(name, staging):
                    _install(staging, folder)
                return
            _sync_all(staging)
            try:
                staging.rename(folder)
            except OSError:
                if not (folder / RESULT_FILE).exists():
                    raise
            sync(folder.parent)

    def _send(self, name: str, staging: Path) -> bool:
        """Publish the staging folder to all machines; False where another attempt was quicker."""
        place, attempt = self.place / name, uuid.uuid4().hex
        files = {path.relative_to(staging).as_posix(): path for path in staging.rglob("*") if path.is_file()}
        for relative, path in files.items():
            send(path, place / attempt / relative)
        digests = {relative: file_sha256(path) for relative, path in files.items()}
        listed = json.dumps({"folder": attempt, "files": digests}, sort_keys=True).encode()
        if not write_new(place / LIST_FILE, lambda: listed):
            delete_folder(place / attempt)
            return False
        (staging / LIST_FILE).write_bytes(listed)
        return True

    def _bring(self, name: str) -> bool:
        """See that this machine's copy is what is published; False where nothing is."""
        place, folder = self.place / name, self.folder / name
        try:
            listed = (place / LIST_FILE).read_bytes()
        except FileNotFoundError:
            return False
        write_whole(place / USED_FILE, b"")
        own = folder / LIST_FILE
        if own.exists() and own.read_bytes() == listed:
            return True
        description = json.loads(listed)
        with storage_errors(f"write {folder}"), _staging_of(folder) as staging:
            for relative, digest in description["files"].items():
                path = staging / relative
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    bring(place / description["folder"] / relative, path)
                except FileNotFoundError:
                    raise NotFound(
                        f"expected {relative} in {place}, was nothing: start the run again"
                    ) from None
                if file_sha256(path) != digest:
                    raise BadData(
                        f"expected {place}/{relative} with sha256 {digest}, was {file_sha256(path)}: "
                        "delete the folder and start the run again"
                    )
            (staging / LIST_FILE).write_bytes(listed)
            _install(staging, folder)
        return True


def _with_prefix(plain: Any, old: str, new: str) -> Any:
    """The JSON value with another beginning of the strings that begin with the old one."""
    if isinstance(plain, str):
        return new + plain.removeprefix(old) if plain.startswith(old) else plain
    if isinstance(plain, Mapping):
        return {key: _with_prefix(value, old, new) for key, value in plain.items()}
    return [_with_prefix(value, old, new) for value in plain] if isinstance(plain, list) else plain


def _install(staging: Path, folder: Path) -> None:
    """Give a copy of what is published its name, in place of an older copy; a lost copy is brought again."""
    with _locked(folder.parent):
        own = folder / LIST_FILE
        # Another step brought the same meanwhile: whoever reads it must not lose it for a moment.
        if own.exists() and own.read_bytes() == (staging / LIST_FILE).read_bytes():
            return
        if folder.exists():
            folder.rename(staging.with_name(f"{staging.name}.old"))
        staging.rename(folder)
    shutil.rmtree(staging.with_name(f"{staging.name}.old"), ignore_errors=True)


@contextlib.contextmanager
def _staging_of(folder: Path) -> Iterator[Path]:
    """A folder beside the one to be, locked as long as we live; those that the dead left are removed."""
    prefix = f".{folder.name}."
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with _locked(folder.parent):  # or one that is made just now would look as if left
            for left in folder.parent.glob(f"{prefix}*"):
                with contextlib.suppress(BlockingIOError, FileNotFoundError), _locked(left, fcntl.LOCK_NB):
                    shutil.rmtree(left, ignore_errors=True)
            staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=prefix))
            stack.callback(shutil.rmtree, staging, ignore_errors=True)
            stack.enter_context(_locked(staging))
        yield staging


@contextlib.contextmanager
def _locked(folder: Path, flags: int = 0) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
        yield
    finally:
        os.close(descriptor)


def _sync_all(staging: Path) -> None:
    for path in staging.rglob("*"):
        if path.is_file():
            sync(path)
    sync(staging)
