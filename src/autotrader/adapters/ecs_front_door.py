"""The internal load balancer's listener, through which both colours are asked.

Callers name a colour by header, and a rule of the listener for each colour says to which target group
they go. The weights of its default action are for callers that name none. Only these are changed here;
a rule that points elsewhere was put there by somebody who broke the glass, and is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autotrader.adapters.aws import aws_errors
from autotrader.config.aws_names import AwsNames
from autotrader.domain.errors import NotFound
from autotrader.domain.rollout import Color
from autotrader.ports.predictions import COLOR_HEADER

HEALTHY = "healthy"
_ALL = 100


class FrontDoor:
    """One cluster's.

    Parameters
    ----------
    elb
        boto3's client of `elbv2`.
    names : AwsNames
    """

    def __init__(self, elb: Any, names: AwsNames) -> None:
        self._elb = elb
        self._names = names

    def endpoint(self) -> str:
        """Base URL of the listener at the load balancer's own name.

        Raises
        ------
        NotFound
            If Terraform has not made it.
        DependencyError, ConfigurationError
        """
        balancer = self._balancer()
        listener = self._listener(balancer)
        return f"{listener['Protocol'].lower()}://{balancer['DNSName']}:{listener['Port']}"

    def sends_elsewhere(self, color: Color) -> str | None:
        """The weights of callers that name no colour, unless this one has all of them.

        Raises
        ------
        NotFound, DependencyError, ConfigurationError
        """
        listener, groups = self._listener(self._balancer()), self._groups()
        weights = _weights(listener["DefaultActions"])
        if {arn for arn, weight in weights.items() if weight} == {groups[color]}:
            return None
        return _told(weights, groups)

    def point(self, color: Color) -> None:
        """Give the colour all callers that name none.

        Raises
        ------
        NotFound, DependencyError, ConfigurationError
        """
        listener, groups = self._listener(self._balancer()), self._groups()
        forward = dict(_forward(listener["DefaultActions"]).get("ForwardConfig", {}))
        forward["TargetGroups"] = [
            {"TargetGroupArn": groups[c], "Weight": _ALL if c is color else 0} for c in Color
        ]
        with aws_errors(f"point {self._names.load_balancer} at {color}"):
            self._elb.modify_listener(
                ListenerArn=listener["ListenerArn"],
                DefaultActions=[{"Type": "forward", "ForwardConfig": forward}],
            )

    def misdirection(self, color: Color) -> str | None:
        """What is wrong with the rule for callers that name this colour; None where it leads to it.

        Raises
        ------
        NotFound, DependencyError, ConfigurationError
        """
        listener, groups = self._listener(self._balancer()), self._groups()
        with aws_errors(f"read the rules of {self._names.load_balancer}"):
            pages = self._elb.get_paginator("describe_rules").paginate(ListenerArn=listener["ListenerArn"])
            rules = [rule for page in pages for rule in page["Rules"]]
        rule = next((rule for rule in rules if _names(rule, color)), None)
        if rule is None:
            return (
                f"expected a rule for {COLOR_HEADER}: {color} at {self._names.load_balancer}, was none:"
                " terraform apply makes it"
            )
        led_to = {arn for arn, weight in _weights(rule["Actions"]).items() if weight}
        if led_to == {groups[color]}:
            return None
        if led_to == {groups[color.other]}:
            return (
                f"BREAK-GLASS: the load balancer's rule for {color} points at {color.other}'s target group,"
                f" so that callers who ask {color} reach {color.other}: point it back to"
                f" {self._names.target_group(color.value)} once {color} may answer again"
            )
        return f"the load balancer's rule for {color} leads to {', '.join(sorted(led_to)) or 'nowhere'}"

    def targets(self, color: Color) -> Sequence[str]:
        """State and reason of each target of the colour's group, such as `healthy`.

        Raises
        ------
        NotFound, DependencyError, ConfigurationError
        """
        group = self._groups()[color]
        with aws_errors(f"look at the targets of {self._names.target_group(color.value)}"):
            found = self._elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        said = [target["TargetHealth"] for target in found]
        return [": ".join(filter(None, (s["State"], s.get("Description")))) for s in said]

    def _balancer(self) -> Any:
        name = self._names.load_balancer
        with aws_errors(f"look at load balancer {name}"):
            return self._elb.describe_load_balancers(Names=[name])["LoadBalancers"][0]

    def _listener(self, balancer: Mapping[str, Any]) -> Any:
        name = self._names.load_balancer
        with aws_errors(f"look at the listeners of {name}"):
            found = self._elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
        forwarding = [listener for listener in found if _forward(listener["DefaultActions"])]
        if not forwarding:
            raise NotFound(f"expected a listener of {name} that forwards, was none: terraform apply makes it")
        return min(forwarding, key=lambda listener: listener["Protocol"] != "HTTPS")

    def _groups(self) -> dict[Color, str]:
        """ARN of each colour's target group."""
        wanted = {self._names.target_group(color.value): color for color in Color}
        with aws_errors("look at the target groups of both colours"):
            found = self._elb.describe_target_groups(Names=list(wanted))["TargetGroups"]
        return {wanted[group["TargetGroupName"]]: group["TargetGroupArn"] for group in found}


def _forward(actions: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return next((action for action in actions if action["Type"] == "forward"), {})


def _weights(actions: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """By ARN of the target group; one that is named without a weight has it all."""
    action = _forward(actions)
    groups = action.get("ForwardConfig", {}).get("TargetGroups")
    if groups:
        return {group["TargetGroupArn"]: int(group.get("Weight", 1)) for group in groups}
    return {action["TargetGroupArn"]: _ALL} if "TargetGroupArn" in action else {}


def _names(rule: Mapping[str, Any], color: Color) -> bool:
    headers = [c["HttpHeaderConfig"] for c in rule["Conditions"] if c["Field"] == "http-header"]
    return any(
        header["HttpHeaderName"].lower() == COLOR_HEADER.lower() and color.value in header["Values"]
        for header in headers
    )


def _told(weights: Mapping[str, int], groups: Mapping[Color, str]) -> str:
    known = {arn: color.value for color, arn in groups.items()}
    return ", ".join(f"{known.get(arn, arn)} {weight}" for arn, weight in weights.items()) or "nobody"
