"""Which loopback port a background process takes."""

from __future__ import annotations

import socket
from collections.abc import Collection

from autotrader.adapters.processes import ProcessTable
from autotrader.domain.errors import ConfigurationError, Refused

PORTS_TO_TRY = 50


def choose_port(
    processes: ProcessTable,
    name: str,
    *,
    variable: str,
    wanted: int,
    default: int,
    before: int,
    promised: Collection[int] = (),
) -> int:
    """The port of a service: where it runs already, else the wanted one, else a free one near it.

    A port that somebody set is kept to: commands that read the same setting must find the service.

    Parameters
    ----------
    processes : ProcessTable
    name : str
        Of the process in the table.
    variable : str
        Name of the setting, for messages.
    wanted, default : int
        The setting's value, and the one it has where nobody set it.
    before : int
        Where it runs, if it does.
    promised : collection of int
        Ports of others that were started and may not listen yet.

    Raises
    ------
    Refused
        If the service runs on another port than the one that is set now.
    ConfigurationError
        If the port that is set is taken.
    """
    is_set = wanted != default
    if processes.process(name):
        if is_set and wanted != before:
            raise Refused(f"{variable}={wanted}, but {name} runs on port {before}: `make down` first")
        return before
    for port in (wanted,) if is_set else range(wanted, wanted + PORTS_TO_TRY):
        if port in promised:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    tried = str(wanted) if is_set else f"{wanted} to {wanted + PORTS_TO_TRY - 1}"
    raise ConfigurationError(f"{variable}: expected a free port for {name}, {tried} is taken: set another")
