"""The client of the Airflow that the settings name."""

from __future__ import annotations

from autotrader.adapters.airflow_api import AirflowApi
from autotrader.adapters.airflow_login import password
from autotrader.config.settings import Settings


def airflow_of(settings: Settings, *, timeout_seconds: float = 30.0) -> AirflowApi:
    """A client that logs in by user and password, or through AWS where Airflow is MWAA.

    Parameters
    ----------
    timeout_seconds : float
        Patience with one answer.
    """
    if settings.airflow.mwaa_environment is None:
        return AirflowApi(
            settings.airflow_url,
            user=settings.airflow.user,
            password=password(settings),
            timeout_seconds=timeout_seconds,
        )
    # Imported where it is used: others need no boto3.
    from autotrader.adapters.mwaa_transport import URL, MwaaTransport

    transport = MwaaTransport(
        settings.aws, settings.airflow.mwaa_environment, timeout_seconds=timeout_seconds
    )
    return AirflowApi(URL, transport=transport)
