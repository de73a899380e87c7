"""The database of a region: RDS instances, and the snapshots that they are restored from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from autotrader.adapters.aws import aws_errors, client
from autotrader.config.aws_names import AwsNames
from autotrader.config.settings import AwsSettings
from autotrader.domain.errors import NotFound, Rejected

log = structlog.get_logger(__name__)

ORIGIN = "autotrader:restored-from"
AVAILABLE = "available"
# By AWS Backup; RDS lists such snapshots only to those who ask for this type.
_BY_AWS_BACKUP = "awsbackup"
_COMPLETED = "COMPLETED"
# Copies may overtake one another: the newest one to arrive need not be the newest one taken.
_LOOKED_AT = 3


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that is complete.

    Attributes
    ----------
    created_at : datetime
        What was committed later is not in it.
    """

    id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance as RDS tells of it.

    Attributes
    ----------
    status : str
        RDS's word.
    endpoint : str or None
        `host:port`, once it has one.
    origin : str or None
        Snapshot that we restored it from.
    """

    status: str
    endpoint: str | None
    origin: str | None


class RegionDatabase:
    """The instance `autotrader-<environment>` of a region.

    Parameters
    ----------
    aws : AwsSettings
    names : AwsNames
    region : str
    """

    def __init__(self, aws: AwsSettings, names: AwsNames, region: str) -> None:
        self._names = names
        self._rds: Any = client(aws, "rds", region=region)
        self._ec2: Any = client(aws, "ec2", region=region)
        self._backup: Any = client(aws, "backup", region=region)

    def newest_snapshot(self) -> Snapshot | None:
        """Of the instance: made here, copied here, or copied here by AWS Backup."""
        found = [*self._own_snapshots(), *self._recovery_points()]
        return max(found, key=lambda snapshot: snapshot.created_at, default=None)

    def _own_snapshots(self) -> list[Snapshot]:
        pages = self._rds.get_paginator("describe_db_snapshots")
        with aws_errors("list snapshots of the database"):
            found = [
                snapshot
                for page in pages.paginate(DBInstanceIdentifier=self._names.database)
                for snapshot in page["DBSnapshots"]
                if snapshot["Status"] == AVAILABLE
            ]
        # A copy's own time is that of its copying.
        return [Snapshot(s["DBSnapshotIdentifier"], _taken_at(s)) for s in found]

    def _recovery_points(self) -> Iterator[Snapshot]:
        """The newest copies in the vault; none, and a warning, where it cannot be read."""
        vault, instance = self._names.copies_vault, f":db:{self._names.database}"
        pages = self._backup.get_paginator("list_recovery_points_by_backup_vault")
        try:
            with aws_errors(f"list recovery points of vault {vault}"):
                points = [
                    point
                    for page in pages.paginate(BackupVaultName=vault, ByResourceType="RDS")
                    for point in page["RecoveryPoints"]
                    if point["Status"] == _COMPLETED and point["ResourceArn"].endswith(instance)
                ]
        except (NotFound, Rejected) as error:  # of a vault that is not there it may say AccessDenied
            log.warning("copies of AWS Backup cannot be looked for", vault=vault, reason=str(error))
            return
        points.sort(key=lambda point: point["CreationDate"], reverse=True)
        for point in points[:_LOOKED_AT]:
            name = point["RecoveryPointArn"].partition(":snapshot:")[2]
            with aws_errors(f"look at snapshot {name}"):
                found = self._rds.describe_db_snapshots(
                    DBSnapshotIdentifier=name, SnapshotType=_BY_AWS_BACKUP
                )["DBSnapshots"]
            yield from (Snapshot(name, _taken_at(s)) for s in found if s["Status"] == AVAILABLE)

    def instance(self) -> Instance | None:
        name = self._names.database
        try:
            with aws_errors(f"look at database {name}"):
                found = self._rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
        except NotFound:
            return None
        address = found.get("Endpoint")
        tags = {tag["Key"]: tag["Value"] for tag in found.get("TagList", ())}
        return Instance(
            status=found["DBInstanceStatus"],
            endpoint=f"{address['Address']}:{address['Port']}" if address else None,
            origin=tags.get(ORIGIN),
        )

    def move_aside(self, name: str) -> None:
        """Give the instance another name, data and all; does not wait."""
        with aws_errors(f"rename database {self._names.database} to {name}"):
            self._rds.modify_db_instance(
                DBInstanceIdentifier=self._names.database, NewDBInstanceIdentifier=name, ApplyImmediately=True
            )

    def restore(self, snapshot: str) -> None:
        """Begin to make the instance of a snapshot, in the region's own network; does not wait.

        Raises
        ------
        NotFound
            If the subnet group or the security group is missing: Terraform makes them.
        """
        name = self._names.database
        group = f"{name}-database"
        with aws_errors(f"look for security group {group}"):
            found = self._ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [group]}])
        if not found["SecurityGroups"]:
            raise NotFound(f"expected a security group {group}, was none: terraform apply makes it")
        with aws_errors(f"restore database {name} from snapshot {snapshot}"):
            self._rds.restore_db_instance_from_db_snapshot(
                DBInstanceIdentifier=name,
                DBSnapshotIdentifier=snapshot,
                DBSubnetGroupName=name,
                VpcSecurityGroupIds=[g["GroupId"] for g in found["SecurityGroups"]],
                PubliclyAccessible=False,
                MultiAZ=self._names.environment == "production",
                DeletionProtection=self._names.environment == "production",
                CopyTagsToSnapshot=True,
                Tags=[{"Key": ORIGIN, "Value": snapshot}],
            )


def _taken_at(snapshot: Any) -> datetime:
    taken: datetime = snapshot.get("OriginalSnapshotCreateTime") or snapshot["SnapshotCreateTime"]
    return taken
