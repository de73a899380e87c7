"""Faults of what a platform runs on: Redis, the workers that take tasks from it, a disk."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.monitoring.parts import Part
from tests.monitoring.watched import Fault, row

REDIS_BYTES, DISK_BYTES = 16 * 2**20, 8 * 2**20
FULL = 0.95
VALUE = b"x" * 2**16


@dataclass
class Stores:
    """Redis with a bound on its memory, one worker, and a disk where one could be mounted."""

    redis: Part
    redis_url: str
    worker: Part
    disk: Path | None

    def fill_redis(self) -> None:
        """As a cache does that forgets nothing."""
        with redis.Redis.from_url(self.redis_url) as client:
            number = 0
            while client.info("memory")["used_memory"] < FULL * REDIS_BYTES:
                client.set(f"cached:{number}", VALUE)
                number += 1

    def empty_redis(self) -> None:
        with redis.Redis.from_url(self.redis_url) as client:
            client.delete(*client.scan_iter("cached:*"))

    def fill_disk(self) -> None:
        """As a log does that nobody rotates."""
        if self.disk is not None:
            free = os.statvfs(self.disk)
            (self.disk / "log").write_bytes(b"x" * int(FULL * free.f_bavail * free.f_bsize))

    def empty_disk(self) -> None:
        if self.disk is not None:
            (self.disk / "log").unlink()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system of some megabytes, of a kind that no other has; None where we may not mount."""
    image, where = folder / "disk.img", folder / "disk"
    where.mkdir()
    image.write_bytes(b"")
    os.truncate(image, DISK_BYTES)
    try:
        subprocess.run(["mkfs.ext2", "-q", "-m", "0", image], check=True, capture_output=True, timeout=60)
        subprocess.run(["mount", "-o", "loop", image, where], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", where], check=True, timeout=60)


MEMORY = Fault[Stores]("Redis fills up", Stores.fill_redis, Stores.empty_redis, (row("RedisMemoryHigh"),))
NO_WORKER = Fault[Stores](
    "the worker is killed",
    lambda platform: platform.worker.kill(),
    lambda platform: platform.worker.start(),
    (row("NoWorkersAvailable"),),
)
NO_REDIS = Fault[Stores](
    "Redis is killed",
    lambda platform: platform.redis.kill(),
    lambda platform: platform.redis.start(),
    (row("RedisDown"),),
)
DISK = Fault[Stores](
    "a disk fills up", Stores.fill_disk, Stores.empty_disk, (row("DiskSpaceLow", fstype="ext2"),)
)

CHAIN = (MEMORY, NO_WORKER, NO_REDIS)
FAULTS = (*CHAIN, DISK)
