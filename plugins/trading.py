"""The page "Trading" in Airflow's UI, its tab on the pages of our DAGs, and links on those of their tasks.

Every process of Airflow loads this file, so it imports next to nothing: the page itself is made in the
API server, at the first request. Where Airflow cannot show it, it is absent, and the log says why.
"""

from __future__ import annotations

import asyncio
import logging
from importlib.util import find_spec
from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

_log = logging.getLogger(__name__)
# Of the wheel's dependencies; MWAA's environment has it without them.
_NEEDED = ("fastapi", "jinja2", "pydantic_settings", "sqlalchemy", "structlog")


def why_absent() -> str | None:
    """What is missing for the page; None where nothing is."""
    if not hasattr(AirflowPlugin, "external_views"):
        return "expected Airflow 3.1 or newer, whose UI shows pages of plugins, was an older one"
    missing = [name for name in ("autotrader", *_NEEDED) if find_spec(name) is None]
    return f"expected the packages {', '.join(missing)}, were not installed" if missing else None


class Page:
    """The ASGI application, made when it is first asked for."""

    def __init__(self) -> None:
        self._made: Any = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._made is None:
            async with self._making:
                self._made = self._made or await asyncio.to_thread(_make)
        await self._made(scope, receive, send)


def _make() -> Any:
    from autotrader.adapters.airflow_door import AirflowDoor
    from autotrader.adapters.airflow_links import root_path
    from autotrader.apps.console.application import create_console
    from autotrader.bootstrap import Container

    return create_console(AirflowDoor(), Container, airflow_root=root_path())


if (reason := why_absent()) is not None:
    _log.warning("the page Trading is absent: %s", reason)
else:
    from autotrader.adapters.airflow_links import HealthReportLink, RunbookLink, TrackingRunLink, root_path
    from autotrader.adapters.console_paths import PREFIX

    class TradingPlugin(AirflowPlugin):
        name = "trading"
        fastapi_apps: ClassVar[list[Any]] = [{"app": Page(), "url_prefix": PREFIX, "name": "Trading"}]
        external_views: ClassVar[list[Any]] = [
            {
                "name": "Trading",
                "href": f"{root_path()}{PREFIX}/",
                "destination": "nav",
                "url_route": "trading",
                "nav_top_level": True,
            },
            {
                "name": "Trading",
                "href": f"{root_path()}{PREFIX}/dags/{{DAG_ID}}",
                "destination": "dag",
                "url_route": "trading-dag",
            },
        ]
        global_operator_extra_links: ClassVar[list[Any]] = [
            TrackingRunLink(),
            HealthReportLink(),
            RunbookLink(),
        ]
