"""What is live, what rolls out, and who answers for which instrument."""

from __future__ import annotations

from dataclasses import fields

from autotrader.apps.console.panel import Filled, Missing, Panel
from autotrader.apps.console.sources import Sources
from autotrader.deployment.get_status import status_of


def read(sources: Sources) -> Filled | Missing:
    """All that `python -m autotrader.deployment.get_status` says."""
    status = status_of(sources.deployment(), sources.target(), sources.clock.now())
    if status.active_version is None and status.last is None and status.rollout is None:
        return Missing(
            "Nothing was deployed yet.",
            "python -m autotrader.deployment.deploy --version latest --profile fast",
            dag="deployment_pipeline",
        )
    return Filled({field.name: getattr(status, field.name) for field in fields(status)})


DEPLOYMENT = Panel("deployment", "Deployment", read, dags=("deployment_pipeline",))
