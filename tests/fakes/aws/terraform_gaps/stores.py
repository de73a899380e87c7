"""S3: policies of buckets. Plain HTTP stands for TLS; everybody may be in one beside the log service."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from moto.s3.models import FakeBucket

_PLAIN_HTTP = {"Bool": {"aws:SecureTransport": "false"}}


def patch() -> None:
    _take_http_for_tls()
    _let_everybody_be_in_a_policy_of_a_bucket_for_logs()


def _take_http_for_tls() -> None:
    """Moto looks at no condition, so that a policy of TLS alone would refuse every call."""
    asked = FakeBucket.get_permission

    def get_permission(self: Any, action: str, resource: str) -> Any:
        if self.policy is None:
            return asked(self, action, resource)
        policy = json.loads(self.policy)
        left = [one for one in policy["Statement"] if one.get("Condition") != _PLAIN_HTTP]
        seen = SimpleNamespace(policy=json.dumps({**policy, "Statement": left}).encode() if left else None)
        return asked(seen, action, resource)  # type: ignore[arg-type]

    FakeBucket.get_permission = get_permission  # type: ignore[method-assign]


def _let_everybody_be_in_a_policy_of_a_bucket_for_logs() -> None:
    asked = FakeBucket._log_permissions_enabled_policy

    def permitted(target_bucket: Any, target_prefix: str | None) -> bool:
        if not target_bucket.policy:
            return False
        policy = json.loads(target_bucket.policy)
        named = [one for one in policy["Statement"] if isinstance(one.get("Principal"), dict)]
        for one in named:  # moto compares with the two widest; any prefix of ours within it is as good
            if str(one.get("Resource", "")).endswith("/*") and target_prefix:
                wide = f"arn:{target_bucket.partition}:s3:::{target_bucket.name}/"
                inner = str(one["Resource"]).removeprefix(wide).removesuffix("*")
                if target_prefix.startswith(inner):
                    one["Resource"] = f"{wide}{target_prefix}*"
        seen = SimpleNamespace(
            policy=json.dumps({**policy, "Statement": named}).encode(),
            partition=target_bucket.partition,
            name=target_bucket.name,
        )
        return bool(asked(seen, target_prefix))  # type: ignore[arg-type]

    FakeBucket._log_permissions_enabled_policy = staticmethod(permitted)  # type: ignore[assignment]
