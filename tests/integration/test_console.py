"""The page Trading as people see it: in a running Airflow, signed in, at a desk and on a phone."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, FrameLocator, Page, expect

from autotrader.adapters.airflow_api import FINAL_RUN_STATES
from autotrader.apps.console.board import KEPT_SECONDS
from autotrader.apps.stack import airflow, services
from autotrader.bootstrap import Container
from autotrader.config.settings import Settings, load_settings
from autotrader.domain.errors import AutotraderError
from autotrader.domain.orders import Side
from autotrader.domain.trading import Cause, TradingState
from autotrader.ports.events import Event, EventType
from autotrader.ports.registry import Alias
from autotrader.ports.trading import Restriction
from tests.fakes import mlflow_server
from tests.models import TAGS, candidate
from tests.services import chromium, free_port, postgres
from tests.unit.apps.api.account import BTC, ETH, MARKET, MINUTE, TradedAccount
from tests.unit.apps.console.test_panels import GATES, verdict

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
DAG = "feature_health_check"
HOSTILE = (
    "equity fell <script>parent.document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
)
PATIENCE_MS = 90_000  # the page refreshes itself every ten seconds
DAG_FILE = f"""
from airflow.sdk import dag, task

@dag(dag_id="{DAG}", schedule=None)
def made():
    @task
    def report():
        return {{"report": "/home/reports/health/20240301T000000-run/index.html"}}

    @task
    def judge():
        return {{"report_url": "http://127.0.0.1:5000/#/experiments/1/runs/abc"}}

    @task
    def nothing():
        return [1]

    report() >> judge() >> nothing()

made()
"""


@dataclass
class Desk:
    """Airflow with the plugin, over a database that can be taken away."""

    settings: Settings
    password: str
    account: TradedAccount
    run_id: str
    stop_database: Callable[[], None]

    @property
    def url(self) -> str:
        return self.settings.airflow_url


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("console")
    dags = folder / "dags"
    dags.mkdir()
    (dags / "made.py").write_text(textwrap.dedent(DAG_FILE))
    mlflow = mlflow_server.StandInMlflow()
    with ExitStack() as stack, ExitStack() as database, pytest.MonkeyPatch.context() as patch:
        url = database.enter_context(postgres(folder))
        tracking = stack.enter_context(mlflow_server.serve(mlflow))
        for name, value in {
            "HOME": str(folder / "home"),
            "DATABASE__URL": url,
            "MLFLOW__TRACKING_URI": tracking,
            "AIRFLOW__PORT": str(free_port()),
            "BINANCE__INSTRUMENTS": "BTCUSDT,ETHUSDT",
            "BINANCE__SOURCE": "SIMULATED",
            "CLOCK__MARKET_TIME": MARKET.isoformat(),
            "MONITORING__RUNBOOK_URL": str(folder / "runbooks"),
        }.items():
            patch.setenv(f"AUTOTRADER_{name}", value)
        settings = load_settings()
        account = _fill(settings, mlflow, folder)
        env = airflow.environment(settings, dags_folder=dags, plugins_folder=ROOT / "plugins")
        airflow.prepare(settings, env)
        processes = services.table(settings)
        stack.callback(processes.stop_all)
        for spec in airflow.processes(env):
            if spec.name != "airflow-triggerer":
                processes.start(spec)
        with services.airflow_client(settings) as api:
            _until(lambda: DAG in api.dag_ids())
            api.unpause(DAG)
            run_id = api.trigger(DAG, {})  # the other tests need not wait for it
        yield Desk(settings, airflow.password(settings), account, run_id, database.close)


def _fill(settings: Settings, mlflow: mlflow_server.StandInMlflow, folder: Path) -> TradedAccount:
    """A model, an account that trades, alerts, a health report, a runbook."""
    container = Container(settings)
    now = container.wall_clock.now()
    run_id = mlflow.make_run()
    tags = {**TAGS, "gate_report_sha256": "ab" * 32, "data_sources": "SIMULATED"}
    registered = container.registry.register(
        candidate(folder / "model", "key", run_id, tags=tags), actor="test"
    )
    container.tracker.log_table(run_id, "gates.json", GATES)
    container.registry.set_alias(
        registered.name, Alias.CHALLENGER, registered.semver, reason="r", actor="test"
    )
    account = TradedAccount(container.trading_records, now=now)
    account.trade(BTC, Side.BUY, "0.25", "40000", MARKET - timedelta(hours=2), fee="4")
    account.trade(ETH, Side.SELL, "3", "2500", MARKET - timedelta(hours=2), fee="3")
    for k in range(120):
        swing = Decimal(k % 17) * 9 - Decimal(k) * 2
        account.bar(MARKET - (120 - k) * MINUTE, {BTC: 40_000 + 7 * swing, ETH: 2_500 - swing / 2})
    account.restrict(Restriction(Cause.DRAWDOWN, TradingState.HALTED, HOSTILE, now, "breaker"))
    data = {"alert": "CircuitBreakerTripped", "fingerprint": "breaker"}
    container.events.record(Event("a", EventType.ALERT, "critical", HOSTILE, "trader", now, data=data))
    report = settings.home / "reports" / "health" / "20240301T000000-run"
    report.mkdir(parents=True)
    features = [(f"feature_{k}", "critical" if k < 2 else "healthy", 0.6 / (k + 1)) for k in range(14)]
    (report / "verdict.json").write_text(json.dumps(verdict(*features)))
    (report / "index.html").write_text("<title>Health</title><h1>Health of the model</h1>")
    page = folder / "runbooks" / "alerts" / "CircuitBreakerTripped.md"
    page.parent.mkdir(parents=True)
    page.write_text("# CircuitBreakerTripped\n\n## Meaning\n\nLosses passed a limit.\n")
    container.close()
    return account


@pytest.fixture(scope="module")
def member(desk: Desk) -> Iterator[BrowserContext]:
    """A browser that has signed in to Airflow by its form."""
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        tab = context.new_page()
        tab.goto(f"{desk.url}/auth/login")
        tab.locator("input[name=username]").fill(desk.settings.airflow.user)
        tab.locator("input[name=password]").fill(desk.password)
        tab.locator("button[type=submit]").click()
        tab.wait_for_url(f"{desk.url}/")
        tab.close()
        yield context


def _until(done: Callable[[], bool], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if done():
                return
        except AutotraderError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.2)


def opened(member: BrowserContext, desk: Desk, path: str = "/plugin/trading") -> tuple[Page, FrameLocator]:
    """A page of Airflow's UI, and ours within it."""
    tab = member.new_page()
    tab.goto(f"{desk.url}{path}")
    frame = tab.frame_locator("iframe")
    expect(frame.locator("#state")).to_contain_text("Read at")
    return tab, frame


def come_back(frame: FrameLocator) -> None:
    """As if the person had looked at another tab for a while: the page refreshes at once."""
    frame.locator("html").evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")


@pytest.mark.parametrize(
    "path", ["", "panels", "assets/console.js", "reports/health/20240301T000000-run/index.html"]
)
def test_a_browser_that_is_not_signed_in_is_refused(desk: Desk, path: str) -> None:
    with httpx.Client(base_url=f"{desk.url}/trading/", trust_env=False, timeout=60) as client:
        for headers in ({}, {"Cookie": "_token=eyJhbGciOiJub25lIn0.e30."}, {"Authorization": "Bearer x.y.z"}):
            answer = client.get(path, headers=headers)
            assert answer.status_code == 401
            assert "/auth/login" in answer.text
            assert "Health of the model" not in answer.text


def test_a_token_of_airflows_api_opens_it_too_and_numbers_are_the_databases(desk: Desk) -> None:
    credentials = {"username": desk.settings.airflow.user, "password": desk.password}
    with httpx.Client(base_url=desk.url, trust_env=False, timeout=60) as client:
        token = client.post("/auth/token", json=credentials).json()["access_token"]
        state = Container(desk.settings).trading_records.state("main")
        assert state is not None
        headers = {"Authorization": f"Bearer {token}"}

        def account() -> str:
            return str(client.get("/trading/panels", headers=headers).json()["panels"]["account"])

        # A panel that takes long to read shows nothing at first.
        _until(lambda: f'value="{state.equity:f}"' in account())
        tampered = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
        assert (
            client.get("/trading/panels", headers={"Authorization": f"Bearer {tampered}"}).status_code == 401
        )


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)], ids=["desk", "phone"])
def test_whoever_is_signed_in_sees_the_page_within_airflow(
    desk: Desk, member: BrowserContext, tmp_path: Path, width: int, height: int
) -> None:
    tab = member.new_page()
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda m: wrong.append(m.text) if "Content Security Policy" in m.text else None)
    tab.set_viewport_size({"width": width, "height": height})
    tab.goto(desk.url)
    if width > 1000:  # from the navigation, as a person comes to it
        tab.get_by_role("link", name="Trading").first.click()
    else:
        tab.goto(f"{desk.url}/plugin/trading")
    frame = tab.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Trading", exact=True)).to_be_visible()
    expect(frame.locator(".market")).to_contain_text("SIMULATED MARKET. These are not real prices")
    expect(frame.locator("#account")).to_contain_text("circuit breaker TRIPPED")
    expect(frame.locator("#account")).to_contain_text("binance:BTCUSDT")
    expect(frame.locator("#models")).to_contain_text("Gates: 1 failed, 1 passed")
    expect(frame.locator("#drift")).to_contain_text("feature_0")
    expect(frame.locator("#deployment")).to_contain_text("Nothing was deployed yet.")
    expect(frame.locator("#alerts")).to_contain_text("<script>parent")
    body = frame.locator("html")
    assert body.evaluate("e => e.scrollWidth <= e.clientWidth")
    assert tab.title() != "taken"
    assert wrong == []
    tab.screenshot(path=tmp_path / "airflow.png")
    tab.close()


def test_the_page_refreshes_itself_and_says_when_it_cannot(desk: Desk, member: BrowserContext) -> None:
    tab, frame = opened(member, desk)
    frame.locator("#gates-challenger summary").click()
    desk.account.trade(BTC, Side.BUY, "0.5", "41000", MARKET, fee="8.2")
    expect(frame.locator("#account")).to_contain_text("0.75")
    expect(frame.locator("#gates-challenger")).to_have_attribute("open", "")
    member.set_offline(True)
    come_back(frame)
    expect(frame.locator("#state")).to_contain_text("Stale since")
    expect(frame.locator("#state")).to_contain_text("the server does not answer")
    member.set_offline(False)
    come_back(frame)
    expect(frame.locator("#state")).to_contain_text("Read at")
    tab.close()


def test_links_lead_out_of_the_frame(desk: Desk, member: BrowserContext) -> None:
    tab, frame = opened(member, desk)
    with member.expect_page() as runbook:
        frame.locator("#alerts a").first.click()
    expect(runbook.value.get_by_role("heading", name="CircuitBreakerTripped")).to_be_visible()
    with member.expect_page() as report:
        frame.get_by_role("link", name="The whole health report").click()
    expect(report.value.get_by_role("heading", name="Health of the model")).to_be_visible()
    tab.close()


def test_tasks_lead_to_what_they_made_and_dags_show_what_they_come_to(
    desk: Desk, member: BrowserContext
) -> None:
    with services.airflow_client(desk.settings) as api:
        _until(lambda: api.run(DAG, desk.run_id).state in FINAL_RUN_STATES)
    found = {}
    for task in ("report", "judge", "nothing"):
        path = f"/api/v2/dags/{DAG}/dagRuns/{desk.run_id}/taskInstances/{task}/links"
        found[task] = member.request.get(f"{desk.url}{path}").json()["extra_links"]
    runbook = "/trading/runbooks/alerts/PipelineTaskFailure.md"
    assert found == {
        "report": {
            "Health report": "/trading/reports/health/20240301T000000-run/index.html",
            "MLflow run and gate report": None,
            "Runbook": runbook,
        },
        "judge": {
            "Health report": None,
            "MLflow run and gate report": "http://127.0.0.1:5000/#/experiments/1/runs/abc",
            "Runbook": runbook,
        },
        "nothing": {"Health report": None, "MLflow run and gate report": None, "Runbook": runbook},
    }
    tab, frame = opened(member, desk, f"/dags/{DAG}/plugin/trading-dag")
    expect(frame.locator("#drift")).to_contain_text("feature_0")
    expect(frame.locator("#account")).to_have_count(0)
    expect(frame.get_by_role("link", name="CriticalFeatureDrift")).to_be_visible()
    tab.close()


def test_a_dead_database_is_named_and_empties_its_own_panels(desk: Desk, member: BrowserContext) -> None:
    tab, frame = opened(member, desk)
    desk.stop_database()
    time.sleep(KEPT_SECONDS)
    come_back(frame)
    expect(frame.locator("#account")).to_contain_text("Cannot be shown now. expected")
    expect(frame.locator("#alerts")).to_contain_text("Cannot be shown now. expected")
    expect(frame.locator("#drift")).to_contain_text("feature_0")
    expect(frame.locator("#state")).to_contain_text("Read at")
    tab.close()
