"""What the newest health check of the live model measured, from the verdict that it left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autotrader.apps.exporter.reading import Reading
from autotrader.domain.errors import BadData
from autotrader.domain.verdicts import Severity
from autotrader.monitoring.checks import DRIFT
from autotrader.monitoring.page import VERDICT

_RANK = {Severity.HEALTHY: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}


class ModelHealth:
    """Reads the folder of reports; where no check was made yet, there is nothing.

    Parameters
    ----------
    folder : Path
        Of all reports.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, reading: Reading) -> None:
        """Add drift and missing values by feature.

        Raises
        ------
        BadData
            If the newest verdict is damaged.
        """
        newest = max(self._folder.glob(f"*/{VERDICT}"), key=lambda p: p.stat().st_mtime_ns, default=None)
        if newest is None:
            return
        reading.add("feature_check_timestamp_seconds", newest.stat().st_mtime)
        for feature in _features(newest):
            name = str(feature["name"])
            reading.add("feature_psi", feature["psi"], feature=name)
            reading.add("feature_missing_ratio", feature["missing_share"], feature=name)
            if feature["psi"] is not None:
                verdict = _RANK[Severity(feature["severity"])]
                reading.add("feature_drift_verdict", verdict, feature=name)


def _features(path: Path) -> list[dict[str, Any]]:
    try:
        verdict = json.loads(path.read_bytes())
        features: list[dict[str, Any]] = verdict["checks"][DRIFT]["figures"].get("features", [])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadData(f"expected a verdict in {path}, was {type(error).__name__}: {error}") from error
    return features
