"""EC2: descriptions of rules between groups, and to prefix lists. Route 53: the VPC of a private zone."""

from __future__ import annotations

import inspect
from typing import Any

from moto.ec2.models.security_groups import SecurityGroupRule
from moto.route53.responses import Route53


def patch() -> None:
    _describe_every_rule()
    _tell_the_network_of_zones()


def _describe_every_rule() -> None:
    made = SecurityGroupRule.__init__

    signature = inspect.signature(made)

    def init(self: Any, *words: Any, **given: Any) -> None:
        made(self, *words, **given)
        prefix_list = signature.bind(self, *words, **given).arguments.get("prefix_list_id") or {}
        self.told = self.source_group.get("Description") or prefix_list.get("Description")

    def description(self: Any) -> str | None:
        found: str | None = self.ip_range.get("Description") or self.told
        return found

    SecurityGroupRule.__init__ = init  # type: ignore[method-assign]
    SecurityGroupRule.description = property(description)  # type: ignore[assignment,method-assign]


def _tell_the_network_of_zones() -> None:
    created = Route53.create_hosted_zone

    def create_hosted_zone(self: Any) -> Any:
        """A zone that is made with a VPC is private, whether or not the call says so."""
        result = created(self)
        network = self._get_param("VPC")
        if network:
            zone = result.result["HostedZone"]
            zone.private_zone = True
            zone.vpcs = [{"vpc_id": network["VPCId"], "vpc_region": network["VPCRegion"]}]
        return result

    Route53.create_hosted_zone = create_hosted_zone  # type: ignore[method-assign]
