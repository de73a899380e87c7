"""Who acts, for the audit trail."""

from __future__ import annotations

import getpass
import os
import socket


def operator() -> str:
    """The operating system's user of this process, as `user@host`.

    It is what the machine authenticated, not what someone typed. A container may have a user without
    a name; then it is the number.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
