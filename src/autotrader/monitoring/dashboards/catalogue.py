"""All dashboards that there are."""

from __future__ import annotations

from autotrader.monitoring.dashboards.panels import Dashboard
from autotrader.monitoring.dashboards.platform_operations import PLATFORM_OPERATIONS
from autotrader.monitoring.dashboards.system_metrics import SYSTEM_METRICS
from autotrader.monitoring.dashboards.trading_metrics import TRADING_METRICS

# Panels of the cache come with it: nothing exports its metrics yet.
DASHBOARDS: tuple[Dashboard, ...] = (SYSTEM_METRICS, TRADING_METRICS, PLATFORM_OPERATIONS)
