"""What the page is served from: sources of the settings as they are now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from autotrader.apps.console.board import PanelBoard
from autotrader.apps.console.sources import Ports, Sources, sources_of
from autotrader.config.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Desk:
    """Sources, and the board over them."""

    sources: Sources
    board: PanelBoard


FindDesk = Callable[[], Awaitable[Desk]]


class FollowingDesk:
    """The desk of this process's settings: where the stack has written other ones, a new desk.

    Parameters
    ----------
    open_ports : Callable
        Makes what opens the ports of some settings.
    airflow_root : str
        Path below which Airflow's UI is served: empty, or such as `/airflow`.
    """

    def __init__(self, open_ports: Callable[[Settings], Ports], airflow_root: str) -> None:
        self._open_ports = open_ports
        self._airflow_root = airflow_root
        self._ports: Ports | None = None
        self._desk: Desk | None = None
        self._moving = asyncio.Lock()

    async def __call__(self) -> Desk:
        """Find it.

        Raises
        ------
        ConfigurationError
            If a setting is wrong.
        """
        async with self._moving:
            settings = await run_in_threadpool(load_settings)
            if self._desk is None or self._desk.sources.settings != settings:
                if self._ports is not None:
                    self._ports.close()
                self._ports = self._open_ports(settings)
                sources = sources_of(self._ports, airflow_root=self._airflow_root)
                self._desk = Desk(sources, PanelBoard(sources, sources.clock))
            return self._desk
