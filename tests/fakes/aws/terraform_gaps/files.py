"""EFS: the end of a file system's policy."""

from __future__ import annotations

from typing import Any

from moto.efs.exceptions import FileSystemNotFound
from moto.efs.responses import EFSResponse


def patch() -> None:
    def delete_file_system_policy(self: Any) -> Any:
        name = self._get_param("FileSystemId")
        if name not in self.efs_backend.file_systems_by_id:
            raise FileSystemNotFound(name)
        self.efs_backend.file_systems_by_id[name].file_system_policy = None
        return "{}", {"Content-Type": "application/json"}

    EFSResponse.delete_file_system_policy = delete_file_system_policy  # type: ignore[attr-defined]
