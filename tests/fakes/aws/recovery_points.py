"""Jobs of AWS Backup for databases, which moto lacks: `patch()` adds them, before the server starts.

A job ends at once. Its recovery point is a snapshot of RDS whose name begins with `awsbackup:`, which RDS
lists to those alone who ask for that type; each vault of the region has all of them.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

_PREFIX = "awsbackup:"


def patch() -> None:
    """Close the gap in this process; call it before moto's server is made."""
    from moto.backup import urls
    from moto.backup.responses import BackupResponse
    from moto.rds.models import DBSnapshot, RDSBackend, rds_backends

    described = RDSBackend.describe_db_snapshots

    def describe_db_snapshots(
        self: Any,
        db_instance_identifier: str | None,
        db_snapshot_identifier: str | None = None,
        snapshot_type: str | None = None,
        filters: Any = None,
    ) -> Any:
        # A restore looks its snapshot up by name, of whatever type it is.
        if snapshot_type is None and (db_snapshot_identifier or "").startswith(_PREFIX):
            snapshot_type = "awsbackup"
        return described(self, db_instance_identifier, db_snapshot_identifier, snapshot_type, filters)

    def start_backup_job(self: Any) -> str:
        asked = json.loads(self.body)
        backend = rds_backends[self.current_account][self.region]
        database = backend.describe_db_instances(asked["ResourceArn"].rpartition(":")[2])[0]
        made = DBSnapshot(backend, database, f"{_PREFIX}job-{uuid4()}", snapshot_type="awsbackup")
        backend.database_snapshots[made.db_snapshot_identifier] = made
        return json.dumps({"BackupJobId": str(uuid4()), "RecoveryPointArn": made.db_snapshot_arn})

    def start_copy_job(self: Any) -> str:
        asked = json.loads(self.body)
        source = rds_backends[self.current_account][self.region]
        found = source.database_snapshots[asked["RecoveryPointArn"].partition(":snapshot:")[2]]
        target = rds_backends[self.current_account][asked["DestinationBackupVaultArn"].split(":")[3]]
        made = DBSnapshot(
            target,
            found.database,
            f"{_PREFIX}copyjob-{uuid4()}",
            snapshot_type="awsbackup",
            original_created_at=found.original_snapshot_create_time,
        )
        target.database_snapshots[made.db_snapshot_identifier] = made
        return json.dumps({"CopyJobId": str(uuid4())})

    def list_recovery_points_by_backup_vault(self: Any) -> str:
        vault = self.backup_backend.describe_backup_vault(self.path.split("/")[2])
        snapshots = rds_backends[self.current_account][self.region].database_snapshots.values()
        points = [_point(vault, one) for one in snapshots if one.db_snapshot_identifier.startswith(_PREFIX)]
        return json.dumps({"RecoveryPoints": points})

    RDSBackend.describe_db_snapshots = describe_db_snapshots  # type: ignore[method-assign]
    for path, act in (
        ("{0}/backup-jobs$", start_backup_job),
        ("{0}/copy-jobs$", start_copy_job),
        ("{0}/backup-vaults/(?P<name>[^/]+)/recovery-points/$", list_recovery_points_by_backup_vault),
    ):
        setattr(BackupResponse, act.__name__, act)
        urls.url_paths[path] = urls.response.dispatch


def _point(vault: Any, snapshot: Any) -> dict[str, object]:
    return {
        "RecoveryPointArn": snapshot.db_snapshot_arn,
        "BackupVaultName": vault.backup_vault_name,
        "ResourceArn": snapshot.database.db_instance_arn,
        "ResourceType": "RDS",
        "Status": "COMPLETED",
        "CreationDate": snapshot.snapshot_create_time.timestamp(),
    }
