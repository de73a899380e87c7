"""AWS Backup: what a plan selects, recovery points of a vault (none), tags however the path ends."""

from __future__ import annotations

import uuid
from typing import Any

from moto.backup import urls
from moto.backup.exceptions import InvalidRequestException, ResourceNotFoundException
from moto.backup.responses import BackupResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import unix_time

Selections = dict[str, dict[str, Any]]


def patch() -> None:
    _add_selections()
    _add_recovery_points()
    _find_tags()


def _selections(response: Any) -> Selections:
    """By id, those of the plan that is asked for."""
    plan_id = response._get_param("backupPlanId")
    plan = response.backup_backend.get_backup_plan(plan_id, None)
    if not hasattr(plan, "selections"):
        plan.selections = {}
    found: Selections = plan.selections
    return found


def _asked_for(response: Any) -> dict[str, Any]:
    selections, name = _selections(response), response._get_param("selectionId")
    if name not in selections:
        raise ResourceNotFoundException(f"Cannot find Backup selection with provided id {name}")
    return selections[name]


def _add_selections() -> None:
    def create_backup_selection(self: Any) -> Any:
        made = {
            "SelectionId": str(uuid.uuid4()),
            "BackupPlanId": self._get_param("backupPlanId"),
            "CreationDate": unix_time(),
        }
        _selections(self)[made["SelectionId"]] = {
            **made,
            "BackupSelection": self._get_param("BackupSelection"),
        }
        return ActionResult(made)

    def get_backup_selection(self: Any) -> Any:
        return ActionResult(_asked_for(self))

    def delete_backup_selection(self: Any) -> Any:
        del _selections(self)[_asked_for(self)["SelectionId"]]
        return EmptyResult()

    deleted = BackupResponse.delete_backup_plan

    def delete_backup_plan(self: Any) -> Any:
        if _selections(self):
            raise InvalidRequestException("Related backup plan selections must be deleted before the plan")
        return deleted(self)

    for action in (
        create_backup_selection,
        get_backup_selection,
        delete_backup_selection,
        delete_backup_plan,
    ):
        setattr(BackupResponse, action.__name__, action)


def _add_recovery_points() -> None:
    def list_recovery_points_by_backup_vault(self: Any) -> Any:
        self.backup_backend.describe_backup_vault(self._get_param("backupVaultName"))
        return ActionResult({"RecoveryPoints": []})

    BackupResponse.list_recovery_points_by_backup_vault = list_recovery_points_by_backup_vault  # type: ignore[attr-defined]
    urls.url_paths["{0}/backup-vaults/(?P<name>[^/]+)/recovery-points/$"] = urls.response.dispatch


def _find_tags() -> None:
    def list_tags(self: Any) -> Any:
        return ActionResult({"Tags": self.backup_backend.list_tags(self._get_param("resourceArn"))})

    BackupResponse.list_tags = list_tags  # type: ignore[method-assign]
