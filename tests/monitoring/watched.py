"""A real Prometheus and Alertmanager with our rules, at a faster pace, and what they tell of a fault."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx
import pytest
import yaml

from autotrader.domain.alert_rules import RULES, AlertRule
from autotrader.domain.thresholds import ALERTS
from tests.monitoring.alertmanager import Receiver, alertmanager, configured, receiver, running, until
from tests.services import free_port

P = TypeVar("P")
Labels = Mapping[str, str]

PATIENCE_SECONDS = 240
OURS = ("prediction", "api", "trader", "exporter")  # jobs whose targets have a label `service`
READ_SECONDS = 2  # a page of a busy process may take one
JUDGE_SECONDS = 1
HOLD_SECONDS = 3
# What a rule looks back on: some scrapes.
WINDOWS = {"5m": "10s", "30m": "12s", "1h": "15s", "6h": "15s", "3d": "20s"}
# Times that are compared with: of a backup, of a failed deployment and a running backtest.
AGES = {
    "BackupMissing": (ALERTS.backup_age.total_seconds(), 25),
    "ModelDeploymentFailure": (ALERTS.deployment_failure.total_seconds(), 12),
    "BacktestTakingTooLong": (ALERTS.backtest_seconds, 4),
}


@dataclass(frozen=True)
class Row:
    """A row that a rule yields: one that has at least these labels."""

    alert: str
    labels: Labels = field(default_factory=dict)

    @property
    def rules(self) -> tuple[AlertRule, ...]:
        """Those that yield it."""
        severity = self.labels.get("severity")
        return tuple(
            rule for rule in RULES if rule.name == self.alert and severity in (None, rule.severity.value)
        )

    def __str__(self) -> str:
        return " ".join([self.alert, *self.labels.values()])


def row(alert: str, **labels: str) -> Row:
    return Row(alert, labels)


@dataclass(frozen=True)
class Fault(Generic[P]):
    """What goes wrong in a part of the platform P, how a person mends it, and which rules tell of it."""

    name: str
    inject: Callable[[P], object]
    mend: Callable[[P], object]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Watched:
    """Who watches, and whom they tell."""

    prometheus: str
    alertmanager: str
    people: Receiver

    def state(self, row: Row) -> str:
        """Of the newest notices about it: firing, resolved, or empty where there was none."""
        wanted = {"alertname": row.alert, **row.labels}.items()
        newest: dict[str, str] = {}
        for body in tuple(self.people.sent_to("/alerts/webhook")):
            newest |= {a["fingerprint"]: a["status"] for a in body["alerts"] if wanted <= a["labels"].items()}
        return "firing" if "firing" in newest.values() else "resolved" if newest else ""

    def live_through(self, platform: P, *chains: Sequence[Fault[P]]) -> dict[str, str]:
        """Go through all chains side by side, and through each in order; returns what went wrong, by row.

        A fault is mended as soon as all its rows have arrived, and is over when it was told that all of
        them cleared. Where that does not come about, the rest of its chain is left out.
        """
        outcomes: dict[str, str] = {}
        lives = [self._life(platform, chain, outcomes) for chain in chains]
        while lives:
            lives = [life for life in lives if next(life, None) is not None]
            time.sleep(0.2)
        return outcomes

    def _life(self, platform: P, chain: Sequence[Fault[P]], outcomes: dict[str, str]) -> Iterator[str]:
        """What is waited for, again and again."""
        for fault in chain:
            outcomes |= {str(row): f"not reached: {fault.name} comes after what failed" for row in fault.rows}
        for fault in chain:
            outcomes |= {str(row): f"{fault.name}: another of its rows failed" for row in fault.rows}
            fault.inject(platform)
            arrived = yield from self._wait(fault, "firing", outcomes)
            fault.mend(platform)
            if not arrived or not (yield from self._wait(fault, "resolved", outcomes)):
                return
            outcomes |= {str(row): "" for row in fault.rows}

    def _wait(self, fault: Fault[P], status: str, outcomes: dict[str, str]) -> Generator[str, None, bool]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while waiting := [row for row in fault.rows if self.state(row) != status]:
            if time.monotonic() > deadline:
                for row in waiting:
                    expected = f"{fault.name}: expected {row} to be told of as {status}, was not"
                    outcomes[str(row)] = f"{expected} within {PATIENCE_SECONDS} s:\n{self.explain(row)}"
                return False
            yield status
        return True

    def explain(self, row: Row) -> str:
        """What Prometheus and Alertmanager show of it."""
        lines = [f"notices: {self.state(row) or 'none'}"]
        for group in self._asked(f"{self.prometheus}/api/v1/rules", {"type": "alert"})["data"]["groups"]:
            for rule in group["rules"]:
                if rule["name"] == row.alert:
                    lines.append(f"rule: {rule['state']} {rule.get('lastError', '')} {rule['query']}")
                    lines += [f"  row: {r['state']} {r['value']} {r['labels']}" for r in rule["alerts"]]
                    lines += [f"  now: {name} = {value}" for name, value in self._values(rule["query"])]
        for target in self._asked(f"{self.prometheus}/api/v1/targets")["data"]["activeTargets"]:
            name = target["labels"].get("service", target["labels"]["job"])
            took = f"{target['lastScrapeDuration']:.2f} s"
            lines.append(f"target {name}: {target['health']} {target['lastError']} ({took})")
        for each in self._asked(f"{self.alertmanager}/api/v2/alerts"):
            state, by = each["status"]["state"], each["status"]["inhibitedBy"]
            lines.append(f"Alertmanager: {each['labels']} {state}" + (f", inhibited by {by}" if by else ""))
        return "\n".join(lines)

    def _values(self, query: str) -> Iterator[tuple[str, str]]:
        """Of what the rule compares with its threshold, where that is the first thing in it."""
        left = re.split(r" (?:>=|<=|==|>|<) ", query)[0]
        answer = self._asked(f"{self.prometheus}/api/v1/query", {"query": left})
        for found in answer["data"].get("result", [])[:10]:
            yield str(found["metric"]), found["value"][1]

    @staticmethod
    def _asked(url: str, query: Labels | None = None) -> Any:
        """Its answer, without what an error leaves out."""
        answer = httpx.get(url, params=query, timeout=60, trust_env=False).json()
        return {"data": {}, **answer} if isinstance(answer, dict) else answer


@contextlib.contextmanager
def watching(folder: Path, ports: Mapping[str, int], **monitoring: Any) -> Iterator[Watched]:
    """Both with their configuration of parts on these ports; what is not named there is not read.

    Parameters
    ----------
    monitoring : Any
        Settings of that section.
    """
    if shutil.which("prometheus") is None:
        pytest.skip("needs Prometheus: apt-get install prometheus")
    with contextlib.ExitStack() as stack:
        people = stack.enter_context(receiver())
        own, port = free_port(), free_port()
        monitoring |= {"alertmanager_port": port, "prometheus_port": own}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AUTOTRADER_HOME", str(folder / "home"))
            configured(folder, people, **monitoring)
        faster(folder)
        _read_at(folder / "prometheus" / "prometheus.yml", {**ports, "prometheus": own, "alertmanager": port})
        url = stack.enter_context(alertmanager(folder, port=port))
        prometheus = f"http://127.0.0.1:{own}"
        command = [
            "prometheus",
            f"--config.file={folder}/prometheus/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{own}",
            # What cleared while another alert kept it quiet is told when that one is over.
            "--rules.alert.resend-delay=2s",
        ]
        stack.enter_context(running(command, folder / "prometheus.log", f"{prometheus}/-/ready"))
        found = Watched(prometheus, url, people)
        until(lambda: _all_up(found, len(ports)), f"pages of {', '.join(ports)} to be read", seconds=180)
        yield found


def faster(folder: Path) -> None:
    """Let the generated rules, scrapes and notices run at the pace of a test."""
    for path in (folder / "prometheus" / "rules").glob("*.yml"):
        text = re.sub(r'\bfor: "[^"]+"', f'for: "{HOLD_SECONDS}s"', path.read_text())
        text = re.sub(r'keep_firing_for: "[^"]+"', f'keep_firing_for: "{HOLD_SECONDS}s"', text)
        text = re.sub(r"\[(\w+)\]", lambda found: f"[{WINDOWS[found[1]]}]", text)
        text = text.replace('interval: "30s"', f'interval: "{JUDGE_SECONDS}s"')
        path.write_text("".join(map(_younger, re.split(r"(?=^ +- alert: )", text, flags=re.MULTILINE))))
    path = folder / "prometheus" / "prometheus.yml"
    text = path.read_text()
    for name, seconds in (("scrape", READ_SECONDS), ("evaluation", JUDGE_SECONDS)):
        text = re.sub(rf'{name}_interval: "[^"]+"', f'{name}_interval: "{seconds}s"', text)
    path.write_text(text.replace('scrape_timeout: "5s"', f'scrape_timeout: "{READ_SECONDS}s"'))
    path = folder / "alertmanager" / "alertmanager.yml"
    text = path.read_text()
    for name in ("group_wait", "group_interval"):
        text = re.sub(f'{name}: "[^"]+"', f'{name}: "1s"', text)
    path.write_text(text)


def _younger(rule: str) -> str:
    """The text of a rule in which an age is one that a test can wait for."""
    for name, (usual, scaled) in AGES.items():
        if f"alert: {name}\n" in rule:
            assert f" {usual:.0f}" in rule, rule
            return re.sub(rf"(?<= ){usual:.0f}\b", str(scaled), rule)
    return rule


def _read_at(path: Path, ports: Mapping[str, int]) -> None:
    """Read these parts at these ports, by service or else by job, and nothing else."""
    content = yaml.safe_load(path.read_text())
    for job in content["scrape_configs"]:
        job.pop("file_sd_configs", None)  # of colours, whose ports may move
        mine = [name for name in ports if name == job["job_name"] or name.startswith(f"{job['job_name']}-")]
        ours = job["job_name"] in OURS
        job["static_configs"] = [
            {"targets": [f"127.0.0.1:{ports[name]}"], "labels": {"service": name} if ours else {}}
            for name in mine
        ]
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def _all_up(watched: Watched, count: int) -> bool:
    answer = watched._asked(f"{watched.prometheus}/api/v1/query", {"query": "sum(up)"})
    return [row["value"][1] for row in answer["data"].get("result", [])] == [str(count + 2)]
