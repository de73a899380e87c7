"""Faults of trading: a wrong model, a venue that disagrees, a market that falls, a trader that dies."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.monitoring.parts import ROOT, Part, surroundings
from tests.monitoring.trader_on_waves import CRASH, DIFFERS, MISLED
from tests.monitoring.watched import Fault, row


@dataclass
class Trading:
    """A trader, and who may tell it what to do."""

    trader: Part
    home: Path
    token: str

    def begin(self, what: str) -> None:
        (self.home / what).touch()

    def end(self, what: str) -> None:
        (self.home / what).unlink()

    def tell(self, verb: str, *words: str) -> None:
        """As an operator with the token of an approver."""
        command = [sys.executable, "-m", f"autotrader.apps.trader.{verb}", *words, "--reason", "mended"]
        environment = surroundings({"AUTOTRADER_HOME": str(self.home), "AUTOTRADER_TOKEN": self.token})
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]


def correct_venue(platform: Trading) -> None:
    """The venue is right again; a difference of that size waits for a person all the same."""
    platform.end(DIFFERS)
    platform.tell("reconcile", "--then", "acknowledge")


def resume(platform: Trading) -> None:
    """The market stands, and a person lets the account trade again."""
    platform.end(CRASH)
    platform.tell("risk_resume")


BAD_MODEL = Fault[Trading](
    "the model is wrong, and unsure",
    lambda platform: platform.begin(MISLED),
    lambda platform: platform.end(MISLED),
    (row("LowWinRate"), row("LowConfidence")),
)
DISAGREEMENT = Fault[Trading](
    "the venue says that we hold more",
    lambda platform: platform.begin(DIFFERS),
    correct_venue,
    (row("PositionMismatch"),),
)
FALL = Fault[Trading](
    "the market falls",
    lambda platform: platform.begin(CRASH),
    resume,
    (row("CircuitBreakerTripped"),),
)
KILLED = Fault[Trading](
    "the trader is killed",
    lambda platform: platform.trader.kill(),
    lambda platform: platform.trader.start(),
    (row("ServiceDown", service="trader"),),
)

FAULTS = (BAD_MODEL, DISAGREEMENT, FALL, KILLED)
