"""What a backup is of: the databases and trees of files that nothing else could make again.

Left out, since they are made again or belong to one machine: staging, training runs, Airflow's run
history, logs, mail, caches, generated secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autotrader.config.aws_names import AwsNames, Bucket
from autotrader.config.settings import DeploymentTargetKind, Settings

MAIN = "database"
LEDGER = "trial_ledger"
MLFLOW = "mlflow"
LAKE = "lake"
ARCHIVE = "archive"
RELEASES = "releases"


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts are.

    Attributes
    ----------
    databases : Mapping[str, str]
        Name of the part to URL; in the order in which they are copied.
    trees : Mapping[str, str]
        Name of the part to folder or s3:// URI.
    """

    databases: Mapping[str, str]
    trees: Mapping[str, str]


def places_of(settings: Settings) -> Places:
    """Where the settings say.

    What refers to other parts comes first: the things referred to are older, and so are in the copy
    that is made after it.
    """
    home = settings.home.resolve()
    names = AwsNames.of(settings)
    on_ecs = settings.deployment.target is DeploymentTargetKind.ECS
    mlflow = settings.mlflow.database_url
    trees = {
        LAKE: settings.lake_uri,
        ARCHIVE: settings.archive_uri,
        "artifacts": settings.mlflow.artifacts_uri or str(home / "mlflow" / "artifacts"),
        RELEASES: f"s3://{names.bucket(Bucket.MODELS)}/releases"
        if on_ecs
        else str(home / "deployment" / "releases"),
        "checks": str(home / "deployment" / "checks"),
        "references": str(home / "monitoring" / "references"),
        "predictions": str(home / "predictions"),
        "paper": str(home / "paper"),
    }
    databases = {
        MAIN: settings.database_url,
        LEDGER: settings.ledger_url,
        MLFLOW: mlflow.get_secret_value() if mlflow else f"sqlite:///{home}/mlflow/mlflow.db",
    }
    return Places(databases, trees)


def beside(home: Path) -> Path:
    """Where a restore keeps its own files: beside the home, or in it where it is a volume.

    What is beside a volume is another file system, and often nobody's to write.
    """
    return home if home.is_mount() else home.parent


def places_in(folder: Path) -> Places:
    """The layout of a home, below another folder: for looking at a backup beside what runs."""
    below = folder.resolve()
    local = Settings.model_construct(home=below)
    return places_of(local)
