"""The colours as containers that are there already, and serve what a file of the shared home says."""

from __future__ import annotations

import httpx

from autotrader.adapters.file_lock import locked
from autotrader.adapters.slot_health import HEALTH_SECONDS, ask_health, silent
from autotrader.config.serving_orders import order_path, read_order, withdraw_order, write_order
from autotrader.config.settings import Settings
from autotrader.domain.errors import Unreachable
from autotrader.domain.rollout import Color
from autotrader.ports.deployment import Release, SlotHealth


class ContainerTarget:
    """Tells a container a colour by its order, and asks it over HTTP.

    Whoever calls needs no right over containers: nobody here can start a process in another one.
    """

    def __init__(self, settings: Settings) -> None:
        self._home = settings.home.resolve()
        self._ports = {Color.BLUE: settings.serving.blue_port, Color.GREEN: settings.serving.green_port}
        self._host = settings.deployment.container_host
        self._client = httpx.Client(timeout=HEALTH_SECONDS, trust_env=False)

    def start(self, color: Color, release: Release) -> str:
        with locked(order_path(self._home, color).with_suffix(".lock")):
            if read_order(self._home, color) != release.folder:
                write_order(self._home, color, release.folder)
        return self._endpoint(color)

    def health(self, color: Color) -> SlotHealth:
        is_wanted = read_order(self._home, color) is not None
        try:
            said = ask_health(self._client, self._endpoint(color), color)
        except Unreachable as error:
            return silent(str(error) if is_wanted else f"nothing runs in {color}")
        return silent(f"{color} is ending") if said.live and not is_wanted else said

    def stop(self, color: Color) -> None:
        with locked(order_path(self._home, color).with_suffix(".lock")):
            withdraw_order(self._home, color)

    def sends_elsewhere(self, color: Color) -> str | None:  # noqa: ARG002 - of the port
        return None  # a colour's host is its name

    def point(self, color: Color) -> None:
        """Nothing to do: nobody asks without naming a colour."""

    def _endpoint(self, color: Color) -> str:
        return f"http://{self._host.replace('{color}', color)}:{self._ports[color]}"
