"""Who is let in, what browsers are told, and what is served beside the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import httpx
import pytest

from autotrader.apps.console.application import application_of
from autotrader.apps.console.desk import FollowingDesk
from autotrader.bootstrap import Container
from autotrader.config.settings import RUNTIME_FILE, ApiSettings, MlflowSettings, MonitoringSettings
from autotrader.domain.alert_rules import RULES
from autotrader.domain.errors import ConfigurationError
from autotrader.domain.runbooks import ALERTS_BY_DAG, APPLICATION_ALERTS, runbooks_of
from tests.unit.apps.console.conftest import MEMBER, SIGN_IN, KnownMembers, World, words
from tests.unit.apps.console.test_panels import verdict

PATHS = (
    "/",
    "/dags/data_pipeline",
    "/panels",
    "/assets/console.js",
    "/reports/health/a/index.html",
    "/runbooks/alerts/SystemDown.md",
)


@pytest.fixture
def runbooks(world: World, tmp_path: Path) -> Path:
    folder = tmp_path / "runbooks"
    (folder / "alerts").mkdir(parents=True)
    (tmp_path / "secret.md").write_text("secret")
    monitoring = MonitoringSettings(runbook_url=str(folder))
    settings = world.sources.settings.model_copy(update={"monitoring": monitoring})
    world.sources = replace(world.sources, settings=settings)
    return folder


@pytest.mark.parametrize("path", PATHS)
async def test_nobody_is_let_in_whom_airflow_does_not_know(world: World, path: str) -> None:
    world.write_verdict(verdict(), "a")
    async with world.client() as client:
        unknown = await client.get(path)
        stranger = await client.get(path, headers={"Authorization": "Bearer of-a-stranger"})
        wrong = await client.get(path, headers={"Authorization": "Basic x", "Cookie": "_token=x"})
    assert (unknown.status_code, wrong.status_code, stranger.status_code) == (401, 401, 403)
    assert SIGN_IN in unknown.text
    for answer in (unknown, stranger, wrong):
        assert "health" not in answer.text
        assert "script-src 'self'" in answer.headers["content-security-policy"]


async def test_the_page_is_whole_without_scripts_and_runs_none_inline(world: World) -> None:
    async with world.client(headers=MEMBER) as client:
        answer = await client.get("/")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert "style=" not in answer.text
    assert "<style" not in answer.text
    assert " on" not in [part[:3] for part in answer.text.split("<")]
    text = words(answer.text)
    assert "Replay of recorded data. Market time stands at 2024-03-01 12:00 UTC" in text
    for title in ("Open alerts", "Trading account", "Models", "Deployment", "Drift by feature"):
        assert title in text


async def test_the_page_links_to_tools_that_there_are_and_has_no_password_in_it(world: World) -> None:
    async def links(**changed: object) -> str:
        settings = world.sources.settings.model_copy(update=changed)
        world.sources = replace(world.sources, settings=settings)
        async with world.client(headers=MEMBER) as client:
            return (await client.get("/")).text

    page = await links(
        mlflow=MlflowSettings(tracking_uri="https://ann:hunter2@runs.example"),
        api=ApiSettings(host="api.example", tls_certificate=Path("a.pem")),
    )
    assert "hunter2" not in page
    assert 'href="https://runs.example"' in page
    assert 'href="https://api.example:8010/docs"' in page
    page = await links(
        mlflow=MlflowSettings(tracking_uri="sqlite:///mlflow.db"),
        api=ApiSettings(host="0.0.0.0"),  # noqa: S104 - a value of a setting
    )
    assert "Tools:" not in page
    assert 'href="#"' not in page


async def test_a_cookie_is_as_good_as_a_bearer(world: World) -> None:
    async with world.client(cookies={"_token": "of-a-member"}) as client:
        assert (await client.get("/panels")).status_code == 200


async def test_simulated_prices_are_never_shown_as_real_ones(world: World) -> None:
    settings = world.sources.settings
    binance = settings.binance.model_copy(update={"source": "SIMULATED"})
    world.sources = replace(world.sources, settings=settings.model_copy(update={"binance": binance}))
    async with world.client(headers=MEMBER) as client:
        assert "SIMULATED MARKET. These are not real prices" in words((await client.get("/")).text)


async def test_the_tab_of_a_dag_shows_what_it_comes_to_and_its_runbooks(world: World) -> None:
    async with world.client(headers=MEMBER) as client:
        page = (await client.get("/dags/feature_health_check")).text
        found = (await client.get("/panels", params={"dag": "feature_health_check"})).json()["panels"]
        other = await client.get("/dags/%3Cscript%3E")
    assert list(found) == ["drift"]
    assert 'href="/trading/runbooks/alerts/CriticalFeatureDrift.md"' in page
    assert 'id="models"' not in page
    assert "No panel is about &lt;script&gt;" in other.text


def test_runbooks_of_dags_are_those_of_alerts_that_there_are() -> None:
    names = {rule.name for rule in RULES} | set(APPLICATION_ALERTS)
    assert {name for alerts in ALERTS_BY_DAG.values() for name in alerts} <= names
    assert {rule.runbook for rule in RULES if rule.name == "ModelDeploymentFailure"} == set(
        runbooks_of("deployment_pipeline")
    )


async def test_a_health_report_can_do_nothing_in_airflows_name(world: World) -> None:
    world.write_verdict(verdict(), "20240301T000000-run")
    async with world.client(headers=MEMBER) as client:
        report = await client.get("/reports/health/20240301T000000-run/index.html")
    assert report.text == "<h1>health</h1>"
    policy = report.headers["content-security-policy"]
    assert policy.startswith("sandbox ")
    assert "allow-same-origin" not in policy


@pytest.mark.parametrize(
    "path",
    [
        "/reports/health/20240301T000000-run/verdict.json",
        "/reports/health/20240301T000000-run/secret.txt",
        "/reports/health/../index.html",
        "/reports/health/%2e%2e/index.html",
        "/reports/health/none/index.html",
        "/runbooks/../secret.md",
        "/runbooks/%2e%2e/secret.md",
        "/runbooks/alerts/none.md",
        "/runbooks//etc/passwd",
        "/assets/%2e%2e/application.py",
        "/nothing",
    ],
)
async def test_nothing_else_is_served(world: World, runbooks: Path, path: str) -> None:
    folder = world.write_verdict(verdict())
    (folder / "secret.txt").write_text("secret")
    async with world.client(headers=MEMBER) as client:
        answer = await client.get(httpx.URL("http://127.0.0.1:8080" + path))
    assert answer.status_code == 404
    assert "secret\n" not in answer.text


async def test_a_runbook_is_read_as_a_page_without_markup_of_its_own(world: World, runbooks: Path) -> None:
    (runbooks / "alerts" / "SystemDown.md").write_text(
        "# SystemDown\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "<!-- expect: exit 0 -->\n```sh\nmake status\n```\n"
        "<script>x</script> [l](javascript:x)"
    )
    async with world.client(headers=MEMBER) as client:
        answer = await client.get("/runbooks/alerts/SystemDown.md")
    assert "<h1>SystemDown</h1>" in answer.text
    assert "<td>1</td>" in answer.text
    assert "make status" in answer.text
    assert "expect: exit" not in answer.text, "it is for the tests that run the block"
    assert "<script>x" not in answer.text
    assert 'href="javascript:' not in answer.text


async def test_it_only_reads(world: World) -> None:
    async with world.client(headers=MEMBER) as client:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert (await client.request(method, "/panels")).status_code == 405


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ConfigurationError("AUTOTRADER_HOME: expected a folder"), 503, "AUTOTRADER_HOME: expected a folder"),
        (RuntimeError("password=hunter2"), 500, "The page failed with RuntimeError"),
    ],
)
async def test_what_breaks_is_told_without_a_trace(error: Exception, status: int, said: str) -> None:
    async def find_desk() -> NoReturn:
        raise error

    transport = httpx.ASGITransport(application_of(KnownMembers(), find_desk), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://t", headers=MEMBER) as client:
        answer = await client.get("/")
    assert answer.status_code == status
    assert said in words(answer.text)
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text


async def test_the_page_follows_the_settings_that_the_stack_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTRADER_HOME", str(tmp_path))
    find_desk = FollowingDesk(Container, "")
    first = await find_desk()
    assert await find_desk() is first
    (tmp_path / RUNTIME_FILE).write_text("AUTOTRADER_CLOCK__MARKET_TIME=2024-03-02T00:00:00+00:00\n")
    assert (await find_desk()).sources.market_clock.now().day == 2
