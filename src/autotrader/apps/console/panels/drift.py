"""What the newest health check of the live model found, feature by feature."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from autotrader.adapters.console_paths import report_url
from autotrader.apps.console.panel import Filled, Missing, Panel
from autotrader.apps.console.sources import Sources
from autotrader.domain.errors import BadData
from autotrader.domain.thresholds import DRIFT as BOUNDS
from autotrader.monitoring.checks import DRIFT as DRIFT_CHECK
from autotrader.monitoring.page import INDEX, VERDICT

SHOWN = 8


def read(sources: Sources) -> Filled | Missing:
    """From the verdict that the check left in the folder of reports.

    Raises
    ------
    BadData
        If it is damaged.
    """
    found = sources.reports.glob(f"*/{VERDICT}")
    newest = max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
    if newest is None:
        return Missing(
            "No health check was made yet.",
            "python -m autotrader.monitoring.health_check",
            dag="feature_health_check",
        )
    try:
        verdict: dict[str, Any] = json.loads(newest.read_bytes())
        drift = verdict["checks"][DRIFT_CHECK]
        features = list(drift["figures"].get("features", ()))
        values = {
            "health": verdict["health"],
            "reason": verdict["reason"],
            "what_to_do": verdict["what_to_do"],
            "model": verdict["model"],
            "market_time": datetime.fromisoformat(verdict["market_time"]),
            "checks": list(verdict["checks"].values()),
            "drift": drift,
            "features": features,
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadData(
            f"expected the verdict of a health check in {newest.parent.name}/{VERDICT}, was damaged "
            f"({type(error).__name__}): trigger feature_health_check"
        ) from error
    checked_at = datetime.fromtimestamp(newest.stat().st_mtime, UTC)
    shown = max(SHOWN, sum(feature.get("severity") != "healthy" for feature in features))
    report = report_url(sources.airflow_root, newest.parent.name, INDEX)
    return Filled(
        values | {"shown": shown, "checked_at": checked_at, "report": report, "bounds": BOUNDS, "scale": 1.0}
    )


DRIFT = Panel("drift", "Drift by feature", read, dags=("feature_health_check",), span="tall")
