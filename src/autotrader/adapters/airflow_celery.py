"""Airflow's settings for Celery, whose workers tell what they use.

`AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS=autotrader.adapters.airflow_celery.CONFIG`
"""

from __future__ import annotations

from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG

CONFIG: dict[str, Any] = {
    **DEFAULT_CELERY_CONFIG,
    "imports": (*DEFAULT_CELERY_CONFIG.get("imports", ()), "autotrader.adapters.celery_usage"),
}
