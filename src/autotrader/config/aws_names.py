"""What things are called on AWS: one place for Python, checked against Terraform and the scripts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # names are also asked for where pydantic-settings is not: in Airflow on MWAA
    from autotrader.config.settings import Settings


class Bucket(StrEnum):
    """A bucket's name is the prefix and one of these."""

    DATA = "data"
    MODELS = "models"
    LOGS = "logs"
    FEATURES = "features"
    AIRFLOW = "airflow"
    BACKUPS = "backups"


class Process(StrEnum):
    """What runs as a service of the cluster beside the two colours."""

    TRADER = "trader"
    CONTROLLER = "controller"
    API = "api"
    EXPORTER = "exporter"
    ALERTS = "alerts"  # their delivery
    SHIPPER = "shipper"
    MLFLOW = "mlflow"
    PROMETHEUS = "prometheus"
    ALERTMANAGER = "alertmanager"
    GRAFANA = "grafana"
    IB_GATEWAY = "ib-gateway"
    STEP = "step"  # a task of a DAG, run once


@dataclass(frozen=True, slots=True)
class AwsNames:
    """Of one environment.

    Parameters
    ----------
    environment : str
    prefix : str
        Bucket names are global: each installation has its own.
    """

    environment: str
    prefix: str

    @classmethod
    def of(cls, settings: Settings) -> AwsNames:
        return cls(settings.environment.value, settings.aws.prefix)

    @property
    def cluster(self) -> str:
        """Also of the internal load balancer and of the database."""
        return f"autotrader-{self.environment}"

    @property
    def load_balancer(self) -> str:
        return self.cluster

    @property
    def database(self) -> str:
        return self.cluster

    @property
    def copies_vault(self) -> str:
        """Of AWS Backup in the DR region: what is copied there from home."""
        return f"{self.cluster}-copies"

    def colour_service(self, color: str) -> str:
        return f"trading-{color}"

    def service(self, process: Process) -> str:
        return f"{self.cluster}-{process.value}"

    def target_group(self, color: str) -> str:
        return f"{self.cluster}-{color}"

    def task_family(self, name: str) -> str:
        """Of a process, or `serving-<colour>`."""
        return f"{self.cluster}-{name}"

    def bucket(self, bucket: Bucket) -> str:
        return f"{self.prefix}-{bucket.value}"

    def secret(self, name: str) -> str:
        return f"autotrader/{self.environment}/{name}"

    def log_group(self, name: str) -> str:
        return f"/autotrader/{self.environment}/{name}"

    def alert_topic(self) -> str:
        return f"{self.cluster}-alerts"
