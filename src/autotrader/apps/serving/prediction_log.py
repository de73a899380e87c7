"""The prediction log's writer: what is acknowledged is in the kernel's hands first.

`append` returns when the record was written to the file. From then on it survives the end of this
process, kill -9 included. A power cut may cost what the kernel had not yet brought to the disk: that
is asked for about once a second, beside the requests, not before each answer.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import time
from pathlib import Path

from autotrader.apps.serving.segments import SUFFIX, SegmentHeader, encode_header, torn_frame
from autotrader.domain.errors import DependencyError
from autotrader.files import TEMPORARY_PREFIX, storage_errors

SEGMENT_BYTES = 64 * 1024 * 1024
SEGMENT_SECONDS = 60.0


class PredictionLog:
    """Appends records to a segment, and starts a new one when it is large or old.

    Parameters
    ----------
    folder : Path
        Made if missing.
    header : SegmentHeader
    segment_bytes : int
        Size from which a new segment is started.
    segment_seconds : float
        Age from which one that holds records is finished, so that it can be shipped and removed.

    Attributes
    ----------
    fault : str or None
        Why the last record could not be written; None once one could be again.
    written_bytes : int
        Since the start.

    Raises
    ------
    Rejected, DependencyError
        If the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        header: SegmentHeader,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        segment_seconds: float = SEGMENT_SECONDS,
    ) -> None:
        self.fault: str | None = None
        self.written_bytes = 0
        self._folder = folder
        self._color = header.color
        self._first = encode_header(header)
        self._segment_bytes = segment_bytes
        self._segment_seconds = segment_seconds
        self._finished: list[int] = []  # to be synced and closed
        self._unsynced = False
        self._lost_bytes = 0  # of the record that could not be written
        with storage_errors(f"write the prediction log in {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            self._start_segment()

    @property
    def path(self) -> Path:
        """The segment that is written to."""
        return self._path

    def append(self, framed: bytes) -> None:
        """Write a record.

        Raises
        ------
        Rejected, DependencyError
            If the storage does not let us: then nothing of the record is there, and `fault` says why.
        """
        try:
            if self._size >= self._segment_bytes:
                self._rotate()
            written = os.write(self._descriptor, framed)
            if written != len(framed):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._lost_bytes = len(framed)
            raise self._failed(error) from error
        self._size += written
        self.written_bytes += written
        self._unsynced = True
        self.fault = None

    def maintain(self) -> None:
        """Finish an old segment, bring what was written to the disk, look whether a fault is over.

        Blocks on the disk, and is therefore called from a thread, never twice at once.
        """
        finished, self._finished = self._finished, []
        try:
            for descriptor in finished:
                os.fsync(descriptor)
            if self._unsynced:
                self._unsynced = False
                os.fsync(self._descriptor)
        except OSError as error:  # appends go on beside this: nothing but the fault may be touched
            self.fault = f"cannot bring the prediction log in {self._folder} to the disk: {error.strerror}"
        finally:
            for descriptor in finished:
                os.close(descriptor)

    def look_after(self) -> None:
        """Finish a segment that is old and, after a fault, try whether a record could be written again.

        Quick; called between requests.
        """
        aged = time.monotonic() - self._started >= self._segment_seconds
        try:
            if aged and self._size > len(self._first):
                self._rotate()
            if self.fault is not None:
                self._try_again()
        except OSError as error:
            self._failed(error)

    def close(self) -> None:
        """Bring all to the disk and let go of the segment; one without records is removed."""
        self.maintain()
        if self._size == len(self._first):
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _rotate(self) -> None:
        before = self._descriptor
        self._start_segment()
        self._finished.append(before)

    def _start_segment(self) -> None:
        """It gets its name when it is locked and has its header: nobody takes it for a finished one."""
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
        name = f"{self._color}-{stamp}-{nanoseconds:09d}-{secrets.token_hex(4)}{SUFFIX}"
        temporary = self._folder / f"{TEMPORARY_PREFIX}{name}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.write(descriptor, self._first) != len(self._first):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            temporary.rename(self._folder / name)
        except OSError:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
            raise
        self._descriptor = descriptor
        self._path = self._folder / name
        self._size = len(self._first)
        self._started = time.monotonic()

    def _try_again(self) -> None:
        """Write as much as could not be written, and take it back."""
        written = os.write(self._descriptor, torn_frame(self._lost_bytes))
        os.ftruncate(self._descriptor, self._size)
        if written >= self._lost_bytes:
            self.fault = None

    def _failed(self, error: OSError) -> DependencyError:
        """Remember the fault, and take back what was written of the record."""
        try:
            os.ftruncate(self._descriptor, self._size)
            with storage_errors(f"write the prediction log in {self._folder}"):
                raise OSError(error.errno, os.strerror(error.errno or 0))
        except DependencyError as told:
            self.fault = str(told)
            return told
        except OSError as worse:
            # The torn end must stay the end: what follows goes into another file.
            self._size = self._segment_bytes
            self.fault = f"cannot take back a part of a record in {self._path}: {worse.strerror}"
            return DependencyError(self.fault)
