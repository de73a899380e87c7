"""What Terraform's provider asks for and moto lacks; `patch()` adds it, before the server starts.

Each part names what it adds. It says what AWS would say; none makes a call succeed that AWS would refuse, but
for one: the local AWS is asked over plain HTTP, which stands for TLS (`stores`).
"""

from __future__ import annotations

import os

from tests.fakes.aws.terraform_gaps import (
    backups,
    caches,
    databases,
    files,
    networks,
    secrets,
    services,
    stores,
)


def patch() -> None:
    """Close the gaps in this process; call it before moto's server is made."""
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"  # AWS's own policies can be attached
    for part in (backups, caches, databases, files, networks, secrets, services, stores):
        part.patch()
