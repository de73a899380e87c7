"""Names a process so that others on its machine can tell whether it is gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil


def this_process() -> str:
    """`host/boot-namespace/pid/start`: unique to this process, and told apart from a later one."""
    return f"{_machine()}/{os.getpid()}/{_started(os.getpid())}"


def has_ended(owner: str) -> bool:
    """True only where the owner was a process of this machine and is gone for sure."""
    machine, _, process = owner.rpartition("/")[0].rpartition("/")
    started = owner.rpartition("/")[2]
    if machine != _machine() or not process.isdecimal():
        return False
    return _started(int(process)) != started


def seconds_from_boot(process: psutil.Process) -> float:
    """When it was started. Its time of day is another one once the machine's clock was set."""
    return process.create_time() - psutil.boot_time()


def this_boot() -> str:
    """What the machine calls the time since it was switched on."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text().strip()[:8] if boot.exists() else f"{psutil.boot_time():.0f}"


def _started(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:  # ended, and its parent has not asked yet
            return None
        return f"{seconds_from_boot(process):.2f}"
    except psutil.NoSuchProcess:
        return None


def _machine() -> str:
    """Host, boot and namespace: a number of one is nobody's in another."""
    namespace = Path("/proc/self/ns/pid")
    inode = str(namespace.stat().st_ino) if namespace.exists() else "0"
    return f"{socket.gethostname()}/{this_boot()}-{inode}"
