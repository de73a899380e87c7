"""All panels, in the order of the page: what hurts first."""

from __future__ import annotations

from autotrader.apps.console.panel import Panel
from autotrader.apps.console.panels.account import ACCOUNT
from autotrader.apps.console.panels.alerts import ALERTS
from autotrader.apps.console.panels.deployment import DEPLOYMENT
from autotrader.apps.console.panels.drift import DRIFT
from autotrader.apps.console.panels.freshness import FRESHNESS
from autotrader.apps.console.panels.models import MODELS

PANELS: tuple[Panel, ...] = (ALERTS, ACCOUNT, MODELS, DEPLOYMENT, DRIFT, FRESHNESS)


def panels_of(dag_id: str) -> tuple[Panel, ...]:
    """Those that show what the DAG comes to."""
    return tuple(panel for panel in PANELS if dag_id in panel.dags)
