"""The application behind the page: it lets nobody in whom Airflow does not know, and only ever reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import Depends, FastAPI, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response

from autotrader.adapters.console_paths import dag_url, page_url, runbook_url
from autotrader.apps.console import files
from autotrader.apps.console.desk import Desk, FindDesk, FollowingDesk
from autotrader.apps.console.headers import POLICY, REPORT_POLICY, SecureHeaders
from autotrader.apps.console.panel import Panel
from autotrader.apps.console.panels.catalogue import PANELS, panels_of
from autotrader.apps.console.rendering import render_panel, templates
from autotrader.apps.console.sources import Ports
from autotrader.config.settings import Settings
from autotrader.domain.errors import AutotraderError, NotFound
from autotrader.domain.runbooks import runbooks_of
from autotrader.log import mask_text
from autotrader.ports.visitors import Admission, Door, Visit

REFRESH_SECONDS = 10
DAGS = (
    "data_pipeline",
    "training_pipeline",
    "deployment_pipeline",
    "feature_health_check",
    "daily_summary",
    "backtest",
)

_log = structlog.get_logger(__name__)


class TurnedAway(Exception):
    """Whoever asked is not known, or may not."""

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit.admission)
        self.visit = visit


def create_console(door: Door, open_ports: Callable[[Settings], Ports], *, airflow_root: str = "") -> FastAPI:
    """The console of this process's settings.

    Parameters
    ----------
    door : Door
        Asked at every request, whatever it is for.
    open_ports : Callable
        Makes what opens the ports of some settings: `autotrader.bootstrap.Container`.
    airflow_root : str
        Path below which Airflow's UI is served: empty, or such as `/airflow`.
    """
    return application_of(door, FollowingDesk(open_ports, airflow_root), airflow_root=airflow_root)


def application_of(door: Door, find_desk: FindDesk, *, airflow_root: str = "") -> FastAPI:
    """The console over a desk that is found at every request."""

    async def admit(request: Request) -> None:
        visit = await door(authorization=request.headers.get("authorization"), cookies=request.cookies)
        if visit.admission is not Admission.ADMITTED:
            raise TurnedAway(visit)

    application = FastAPI(
        title="Trading",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        dependencies=[Depends(admit)],
    )
    application.add_middleware(SecureHeaders)

    async def page(panels: Sequence[Panel], dag_id: str | None) -> HTMLResponse:
        desk = await find_desk()
        shown = await _shown(desk, panels)
        return HTMLResponse(
            templates()
            .get_template("page.html.j2")
            .render(
                panels=[(panel, shown[panel.id]) for panel in panels],
                dag_id=dag_id,
                runbooks=_runbooks(desk, dag_id),
                sources=desk.sources,
                settings=desk.sources.settings,
                now=desk.sources.clock.now(),
                market_time=desk.sources.market_clock.now(),
                is_replay=desk.sources.market_clock.is_replay,
                root=page_url(airflow_root),
                dags=[(name, dag_url(airflow_root, name)) for name in DAGS],
                refresh_seconds=REFRESH_SECONDS,
            )
        )

    @application.get("/")
    async def trading() -> HTMLResponse:
        return await page(PANELS, None)

    @application.get("/dags/{dag_id}")
    async def of_dag(dag_id: str) -> HTMLResponse:
        return await page(panels_of(dag_id), dag_id[:250])

    @application.get("/panels")
    async def panels(dag: Annotated[str | None, Query(max_length=250)] = None) -> JSONResponse:
        desk = await find_desk()
        found = await _shown(desk, PANELS if dag is None else panels_of(dag))
        return JSONResponse({"at": desk.sources.clock.now().isoformat(timespec="seconds"), "panels": found})

    @application.get("/assets/{name}")
    def asset(name: str) -> Response:
        content, kind = files.asset(name)
        return Response(content, media_type=kind)

    @application.get("/reports/health/{folder}/{file}")
    async def health_report(folder: str, file: str) -> HTMLResponse:
        desk = await find_desk()
        content = files.health_report(desk.sources, folder, file)
        return HTMLResponse(content, headers={POLICY: REPORT_POLICY})

    @application.get("/runbooks/{path:path}")
    async def runbook(path: str) -> HTMLResponse:
        desk = await find_desk()
        text = files.runbook(desk.sources, path)
        return HTMLResponse(
            templates()
            .get_template("runbook.html.j2")
            .render(text=text, path=path, root=page_url(airflow_root))
        )

    def note(status: int, title: str, text: str, sign_in: str | None = None) -> HTMLResponse:
        body = templates().get_template("note.html.j2")
        root = page_url(airflow_root)
        return HTMLResponse(body.render(title=title, text=text, sign_in=sign_in, root=root), status)

    @application.exception_handler(TurnedAway)
    async def turned_away(_: Request, error: TurnedAway) -> HTMLResponse:
        if error.visit.admission is Admission.FORBIDDEN:
            return note(
                HTTPStatus.FORBIDDEN, "Not allowed", f"{error.visit.name} may not see Airflow's pages."
            )
        return note(
            HTTPStatus.UNAUTHORIZED, "Sign in first", "This page is for those who are signed in to Airflow.",
            error.visit.sign_in,
        )  # fmt: skip

    @application.exception_handler(AutotraderError)
    async def known(_: Request, error: AutotraderError) -> HTMLResponse:
        missing = isinstance(error, NotFound)
        status = HTTPStatus.NOT_FOUND if missing else HTTPStatus.SERVICE_UNAVAILABLE
        return note(status, "Not there" if missing else "Not available", mask_text(str(error)))

    @application.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> HTMLResponse:
        return note(
            error.status_code, HTTPStatus(error.status_code).phrase, "There is nothing of that kind here."
        )

    @application.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> HTMLResponse:
        _log.error("the console broke", path=request.url.path, exc_info=error)
        text = f"The page failed with {type(error).__name__}; the log of Airflow's API server has more."
        return note(HTTPStatus.INTERNAL_SERVER_ERROR, "Not available", text)

    return application


async def _shown(desk: Desk, panels: Sequence[Panel]) -> dict[str, str]:
    """HTML of each panel's inside."""
    contents = await desk.board.read(panels)
    return {panel.id: render_panel(panel, contents[panel.id], desk.sources) for panel in panels}


def _runbooks(desk: Desk, dag_id: str | None) -> list[tuple[str, str]]:
    """Name and address of the pages for the DAG."""
    base, root = desk.sources.settings.monitoring.runbook_url, desk.sources.airflow_root
    found = ((path, runbook_url(root, base, path)) for path in (runbooks_of(dag_id) if dag_id else ()))
    return [(path.rpartition("/")[2].removesuffix(".md"), url) for path, url in found if url]
