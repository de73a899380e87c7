"""Which alerts' faults are made before their pages are run, and why the others are not."""

from __future__ import annotations

from autotrader.domain.alert_rules import RULES
from autotrader.domain.alerts import Severity
from autotrader.monitoring.runbook_pages import read_pages
from autotrader.monitoring.runbooks import FOLDER
from tests.runbooks.faults import FAULTS
from tests.runbooks.shell import ROOT

NOT_MADE = {
    "CriticalFeatureDrift": "a day of drifted requests would stay for the other pages",
    "NoWorkersAvailable": "the platform has no Celery workers: its page is run while there are none",
}


def test_every_critical_alerts_fault_is_made_or_it_is_said_why_not() -> None:
    critical = {rule.name for rule in RULES if rule.severity is Severity.CRITICAL}
    assert critical - set(FAULTS) == set(NOT_MADE)


def test_a_page_tells_how_its_fault_looks_if_and_only_if_it_is_made() -> None:
    telling = {
        page.path.stem for page in read_pages(ROOT / FOLDER) if any(block.amiss for block in page.blocks)
    }
    assert telling == set(FAULTS)
