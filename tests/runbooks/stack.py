"""The platform that the runbooks are run beside: quickstarted, and watched by Prometheus.

PostgreSQL, Redis and AWS are there too, for the pages that ask them; the platform itself is on its embedded
defaults.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from autotrader import command
from autotrader.adapters.drill_stack import make_cluster, make_database
from autotrader.alerts.sources import OPERATOR
from autotrader.cli import VERBS
from autotrader.config.aws_names import AwsNames
from autotrader.config.settings import AwsSettings
from autotrader.domain.alerts import Severity
from autotrader.domain.errors import NotFound
from autotrader.ports.tokens import Scope
from tests.monitoring.parts import Part, redis_server, stop_postgres
from tests.runbooks.shell import ROOT
from tests.scripts.balancer import REGION, make_balancer
from tests.services import AWS_ENVIRONMENT, UNSCHEDULED, free_port, local_aws, postgres

SMALL = {
    "MARKET_SOURCE": "simulated",
    "SIMULATION__DAYS": "8",
    "BINANCE__INSTRUMENTS": "BTCUSDT,ETHUSDT",
    "TRAINING__LOOKBACK_DAYS": "4",
    "TRAINING__EVALUATION_DAYS": "2",
    "TRAINING__FOLD_DAYS": "1",
    "TRAINING__TRIALS_PER_MODEL": "1",
    "TRAINING__MODELS": "logistic",
}
PORTS = (
    "SERVING__BLUE_PORT",
    "SERVING__GREEN_PORT",
    "TRADING__METRICS_PORT",
    "MONITORING__PROMETHEUS_PORT",
    "MONITORING__ALERTMANAGER_PORT",
)
START_SECONDS = 900
# The stand-in's clock stands still: after two minutes a trader misses bars, and a page takes its time, too.
FRESH_SECONDS = 40
APPROVER = "olga"
TARGETS = {name: target for topic in VERBS.values() for name, target in topic.items()}


@dataclass
class Stack:
    """What runs, and what a page may be given before its blocks.

    Attributes
    ----------
    environment : dict
        Of an operator's shell, before any block.
    redis : Part or None
        The server that the pages ask.
    aws : Mapping
        More of the environment for blocks that run against AWS.
    """

    folder: Path
    environment: dict[str, str]
    redis: Part | None = None
    aws: Mapping[str, str] = field(default_factory=dict)
    _trader: subprocess.Popen[bytes] | None = None
    _began: float = 0.0

    @property
    def home(self) -> Path:
        return Path(self.environment["AUTOTRADER_HOME"])

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This process has an operator's environment for a while."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield

    def ask(self, verb: str, **values: object) -> Any:
        """What a verb answers programs; run here, as it is the pages that are to be proven."""
        with self.entered(), command.bound(command.load(TARGETS[verb]), values) as call:
            found = call()
        return command.to_plain(found.data if isinstance(found, command.Result) else found)

    def autotrader(self, *words: str, code: int | None = 0, seconds: float = 300) -> str:
        """Run a verb in a process of its own; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "autotrader.cli", *words],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert code in (None, done.returncode), f"{words}: {done.returncode}\n{done.stderr[-3000:]}"
        return done.stdout

    def account(self) -> Any:
        """What `risk status` says; nothing of anything before a trader has run."""
        try:
            return self.ask("risk status")
        except NotFound:
            return defaultdict(lambda: None)

    def trade(self) -> None:
        """A trader of the paper account that is not without a feed yet; allowed to trade."""
        is_new = self._trader is not None and time.monotonic() - self._began < FRESH_SECONDS
        if not is_new or not self.account()["is_running"]:
            self.start_trader()
        if self.account()["state"] == "halted":
            self.ask("risk resume", reason="test")
        until(lambda: self.account()["state"] == "active", "the account to be active")

    def start_trader(self) -> None:
        """Another trader in place of the one that may run."""
        self.stop_trader()
        with (self.folder / "trader.log").open("ab") as log:
            self._trader = subprocess.Popen(
                [sys.executable, "-m", "autotrader.apps.trader", "--broker", "paper", "--json"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._began = time.monotonic()
        owned = f"/{self._trader.pid}/"
        until(lambda: owned in f"{self.account()['owner']}", "the trader to trade")

    def stop_trader(self) -> None:
        if self._trader is not None:
            self._trader.send_signal(signal.SIGTERM)
            self._trader.wait(timeout=120)
            self._trader = None

    def halt(self) -> None:
        """A halted account of a living trader."""
        self.trade()
        self.ask("risk halt", reason="test")

    def raise_alert(self) -> None:
        """An alert that is open and was taken up."""
        self.ask("alerts send", level=Severity.WARNING, message="a test of the runbooks")
        until(
            lambda: any(alert["name"] == OPERATOR for alert in self.ask("alerts list")["alerts"]),
            "the alert to be taken up",
        )

    def watched(self, query: str) -> list[dict[str, Any]]:
        """What Prometheus answers, by row."""
        promtool = ["promtool", "query", "instant", "--format=json"]
        url = f"http://127.0.0.1:{self.environment['AUTOTRADER_MONITORING__PROMETHEUS_PORT']}"
        done = subprocess.run(
            [*promtool, url, query], env=self.environment, capture_output=True, text=True, check=True
        )
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows


def until(holds: Callable[[], object], what: str, *, seconds: float = 240) -> None:
    """Wait for it; fails with what was waited for."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.2)


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """All of it, and no trace of it afterwards."""
    home = folder / "home"
    home.mkdir(parents=True)
    values = {**SMALL, "HOME": str(home), "BACKUP__URI": str(folder / "backups")}
    values |= {name: str(free_port()) for name in PORTS}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTOTRADER_")}
    environment |= {f"AUTOTRADER_{name}": value for name, value in values.items()}
    environment |= {
        **UNSCHEDULED,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "PGCONNECT_TIMEOUT": "60",
        "AUTOTRADER_PYTHON": sys.executable,
    }
    made = Stack(folder, environment)
    with ExitStack() as stack:
        stack.callback(made.autotrader, "down", code=None)
        made.autotrader("quickstart", "--json", seconds=START_SECONDS)
        environment["DATABASE"] = stack.enter_context(postgres(folder))
        # Whichever runs by then: a page may have ended the first one.
        stack.callback(stop_postgres, environment["DATABASE"])
        made.redis, environment["REDIS"] = redis_server(folder)
        stack.callback(made.redis.kill)
        made.redis.start()
        made.aws = aws_of(stack.enter_context(local_aws(folder)))
        token = made.ask("token create", identity=APPROVER, scopes=(Scope.READ, Scope.APPROVE))["token"]
        (folder / "token").write_text(token + "\n")
        environment |= {"TOKEN_FILE": str(folder / "token"), "AUTOTRADER_TOKEN": token}
        stack.enter_context(watching(made))
        stack.callback(made.stop_trader)
        made.trade()  # once: pages ask for an account that there is
        made.autotrader("backup")
        yield made


@contextmanager
def watching(made: Stack) -> Iterator[None]:
    """Prometheus and Alertmanager as `make monitoring-native` starts them, but quicker to look."""
    monitoring = [str(ROOT / "scripts/monitoring.sh")]
    plain: dict[str, Any] = {"cwd": ROOT, "env": made.environment, "check": True, "capture_output": True}
    try:
        subprocess.run([*monitoring, "start", "--native"], timeout=300, **plain)
        path = made.home / "monitoring/prometheus/prometheus.yml"
        path.write_text(re.sub(r'scrape_(interval|timeout): "\d+s"', r'scrape_\1: "2s"', path.read_text()))
        pid, _ = (made.home / "monitoring/run/prometheus").read_text().split()
        os.kill(int(pid), signal.SIGHUP)
        yield
    finally:
        subprocess.run([*monitoring, "stop", "--native"], timeout=300, **plain)


def aws_of(url: str) -> Mapping[str, str]:
    """Staging on the local AWS, as far as the pages name it; returns the variables that lead there."""
    variables = {
        **AWS_ENVIRONMENT,
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": REGION,
        "AUTOTRADER_AWS__ENDPOINT_URL": url,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        make_balancer(url)
        aws, names = AwsSettings(endpoint_url=url, region=REGION), AwsNames("staging", "runbooks")
        make_cluster(
            aws, names, REGION, services={"autotrader-staging-api": "autotrader-staging-api"}, tasks=1
        )
        make_database(aws, names, REGION)
    return variables
