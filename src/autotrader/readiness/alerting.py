"""Stage 8: whether somebody watches, and whether an alert reaches a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from autotrader.alerts.set_up import routing_of
from autotrader.apps.exporter.components import alert_delivery
from autotrader.config.settings import PREFIX, Settings
from autotrader.domain.alerts import Severity
from autotrader.domain.errors import ExitCode
from autotrader.domain.thresholds import ALERTS, READINESS
from autotrader.monitoring.rules import rules
from autotrader.monitoring.scene import Hosts, Scene
from autotrader.ports.alerts import Alerts, AlertState, ChannelName
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords
from autotrader.ports.tokens import Tokens
from autotrader.readiness.findings import Finding, failed, not_applicable, of_component, ok, warning
from autotrader.readiness.platform_token import token_finding

_START = "make monitoring-native (or make monitoring-start)"


def look(*, settings: Settings) -> Iterator[Finding]:
    """Prometheus, its targets and rules; Alertmanager; and where the routes lead."""
    yield from _prometheus(settings)
    manager = _get(settings.alertmanager_url, "/api/v2/status")
    if isinstance(manager, str):
        yield failed("Alertmanager", manager, _START)
    else:
        yield ok("Alertmanager", f"{settings.alertmanager_url} answers, up since {manager['uptime'][:19]}")
    folder = settings.home.resolve() / "monitoring"
    yield _files(settings)
    yield _critical_by_alertmanager(Scene.of(settings, Hosts.LOOPBACK, folder / "secrets"))
    yield _critical_of_our_own(settings)


def _prometheus(settings: Settings) -> Iterator[Finding]:
    url = f"http://127.0.0.1:{settings.monitoring.prometheus_port}"
    found = _get(url, "/api/v1/targets?state=active")
    if isinstance(found, str):
        yield failed("Prometheus", found, _START)
        return
    targets = found["data"]["activeTargets"]
    down = sorted(target["scrapeUrl"] for target in targets if target["health"] != "up")
    if down:
        reason = f"{len(down)} of {len(targets)} pages cannot be read: {', '.join(down)}"
        yield warning("Prometheus", reason, "make status, and start what is meant to run")
    else:
        yield ok("Prometheus", f"reads all {len(targets)} pages")
    loaded = _get(url, "/api/v1/rules?type=alert")
    if isinstance(loaded, str):
        yield failed("rules", loaded, _START)
        return
    rows = [rule for group in loaded["data"]["groups"] for rule in group["rules"]]
    ill = sorted(rule["name"] for rule in rows if rule["health"] == "err")
    if ill or not rows:
        reason = f"{len(ill)} of {len(rows)} cannot be evaluated: {', '.join(ill) or 'none is loaded'}"
        yield failed("rules", reason, "make monitoring-setup, then make monitoring-native")
    else:
        yield ok("rules", f"{len(rows)} are evaluated")


def _files(settings: Settings) -> Finding:
    folder = settings.home.resolve() / "monitoring"
    if not (folder / "prometheus").is_dir():
        return failed("configuration", f"0 files in {folder}", "make monitoring-setup")
    checked = rules(settings=settings, check=True, folder=folder)
    if checked.exit_code is not ExitCode.DONE:
        assert isinstance(checked.data, dict)  # noqa: S101 - what it returns
        reason = f"{len(checked.data['stale'])} files are not what the settings ask for"
        return failed("configuration", reason, "make monitoring-setup, then make monitoring-native")
    return ok("configuration", f"{folder} is as the settings ask")


def _critical_by_alertmanager(scene: Scene) -> Finding:
    if ChannelName.PAGERDUTY in scene.channels:
        return ok("route of critical alerts", f"leads to a pager; {len(scene.channels)} of 3 ways are set up")
    others = ", ".join(sorted(scene.channels)) or "none"
    return failed(
        "route of critical alerts",
        f"has no receiver: 0 pagers are set up, of other ways {others}",
        f"set {PREFIX}ALERTS__PAGERDUTY_KEY, then make monitoring-setup",
    )


def _critical_of_our_own(settings: Settings) -> Finding:
    """Alerts that the application itself raises, where no Alertmanager takes them."""
    routing = routing_of(settings)
    if routing.by_alertmanager:
        return not_applicable("route of our own alerts", "Alertmanager tells people of them")
    reached = [name for name in routing.routes[Severity.CRITICAL] if name in routing.ready]
    if reached:
        return ok("route of our own alerts", f"critical ones go to {', '.join(reached)}")
    wanted = ", ".join(routing.routes[Severity.CRITICAL]) or "nobody"
    return failed(
        "route of our own alerts",
        f"critical ones are to go to {wanted}, of which 0 are set up",
        f"set {PREFIX}ALERTS__PAGERDUTY_KEY, or {PREFIX}ALERTS__ALERTMANAGER_URL where one runs",
    )


def look_at_alerts(
    *, settings: Settings, alerts: Alerts, records: DeploymentRecords, tokens: Tokens, clock: WallClock
) -> Iterator[Finding]:
    """What somebody should see to before anything is added."""

    def configuration() -> str | None:
        manager = _get(settings.alertmanager_url, "/api/v2/status")
        return None if isinstance(manager, str) else str(manager["config"]["original"])

    yield token_finding(settings, tokens, clock, configuration)
    yield of_component(
        "delivery",
        lambda: alert_delivery(alerts, records, clock),
        "make restart SERVICE=alerts, or `autotrader alerts deliver`",
    )
    totals = alerts.totals()  # a list has an end, before which the oldest critical one may be
    live = {severity: n for (severity, state), n in totals.live.items() if state is AlertState.OPEN}
    count, critical = sum(live.values()), live.get(Severity.CRITICAL, 0)
    if critical:
        reason = f"{count} open, {critical} of them critical"
        yield warning("open alerts", reason, "make alerts-list names the page of each")
    else:
        yield ok("open alerts", f"{count} open, 0 critical")
    if totals.dead > ALERTS.dead_letters:
        todo = "autotrader alerts list --dead-letters, then autotrader alerts requeue"
        yield warning("messages given up", f"{totals.dead}, expected at most {ALERTS.dead_letters}", todo)
    else:
        yield ok("messages given up", f"{totals.dead}")


def _get(url: str, path: str) -> dict[str, Any] | str:
    """The answer, or in words why there is none."""
    try:
        answer = httpx.get(f"{url}{path}", timeout=READINESS.answer_seconds, trust_env=False)
        body: dict[str, Any] = answer.raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        return f"{url} does not answer as expected: {why}"
    return body
