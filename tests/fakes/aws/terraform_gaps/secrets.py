"""Secrets Manager: a copy becomes a secret of its own (StopReplicationToReplica), as a failover asks for.

Until then its policy, which is copied with it, can be read.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from moto.secretsmanager.exceptions import InvalidParameterException, SecretNotFoundException
from moto.secretsmanager.models import ReplicaSecret
from moto.secretsmanager.responses import SecretsManagerResponse


def patch() -> None:
    def stop_replication_to_replica(self: Any) -> str:
        name, secrets = self._get_param("SecretId"), self.backend.secrets
        if name not in secrets:
            raise SecretNotFoundException
        replica = secrets[name]
        if not isinstance(replica, ReplicaSecret):
            raise InvalidParameterException("The secret is not a replica.")
        source = replica.source
        own = copy.deepcopy(source)
        own.arn, own.region, own.replicas = replica.arn, replica.region, []
        del secrets[replica.arn]
        secrets[own.secret_id] = own
        source.replicas = [one for one in source.replicas if one.region != replica.region]
        return json.dumps({"ARN": own.arn})

    asked = SecretsManagerResponse.get_resource_policy

    def get_resource_policy(self: Any) -> str:
        found = self.backend.secrets.get(self._get_param("SecretId"))
        if not isinstance(found, ReplicaSecret):
            return asked(self)
        policy = found.source.policy
        told = {} if policy is None else {"ResourcePolicy": policy}
        return json.dumps({"ARN": found.arn, "Name": found.source.name, **told})

    SecretsManagerResponse.get_resource_policy = get_resource_policy  # type: ignore[method-assign]
    SecretsManagerResponse.stop_replication_to_replica = stop_replication_to_replica  # type: ignore[attr-defined]
