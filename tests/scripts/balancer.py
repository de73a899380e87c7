"""The internal load balancer of an environment on the local AWS, as Terraform makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import boto3

REGION = "eu-west-1"
HEADER = "X-Autotrader-Color"


@dataclass
class Balancer:
    """The internal load balancer as Terraform makes it: blue is live."""

    url: str
    elb: Any
    groups: dict[str, str]
    rules: dict[str, str]

    def targets(self) -> dict[str, str]:
        """Colour to the colour that answers for it."""
        names = {arn: color for color, arn in self.groups.items()}
        found = {}
        for color, rule in self.rules.items():
            (action,) = self.elb.describe_rules(RuleArns=[rule])["Rules"][0]["Actions"]
            arn = action.get("TargetGroupArn") or action["ForwardConfig"]["TargetGroups"][0]["TargetGroupArn"]
            found[color] = names[arn]
        return found

    def show_live(self, *, blue: int, green: int) -> None:
        weights = {"blue": blue, "green": green}
        (listener,) = {
            rule.rpartition("/")[0].replace("listener-rule", "listener") for rule in self.rules.values()
        }
        self.elb.modify_listener(ListenerArn=listener, DefaultActions=[_forward(self.groups, weights)])


def _forward(groups: dict[str, str], weights: dict[str, int]) -> dict[str, Any]:
    shares = [{"TargetGroupArn": groups[color], "Weight": weight} for color, weight in weights.items()]
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": shares}}


def make_balancer(aws: str) -> Balancer:
    """That of staging, anew; blue is live. Credentials are the environment's."""
    elb = boto3.client("elbv2", region_name=REGION, endpoint_url=aws)
    for one in elb.describe_load_balancers()["LoadBalancers"]:
        elb.delete_load_balancer(LoadBalancerArn=one["LoadBalancerArn"])
    for one in elb.describe_target_groups()["TargetGroups"]:
        elb.delete_target_group(TargetGroupArn=one["TargetGroupArn"])
    ec2 = boto3.client("ec2", region_name=REGION, endpoint_url=aws)
    subnets = ec2.describe_subnets()["Subnets"][:2]
    groups = {}
    for color in ("blue", "green"):
        made = elb.create_target_group(
            Name=f"autotrader-staging-{color}",
            Protocol="HTTP",
            Port=8000,
            VpcId=subnets[0]["VpcId"],
            TargetType="ip",
        )
        groups[color] = made["TargetGroups"][0]["TargetGroupArn"]
        elb.register_targets(TargetGroupArn=groups[color], Targets=[{"Id": "10.0.0.1", "Port": 8000}])
    made = elb.create_load_balancer(
        Name="autotrader-staging", Subnets=[s["SubnetId"] for s in subnets], Scheme="internal"
    )
    listener = elb.create_listener(
        LoadBalancerArn=made["LoadBalancers"][0]["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[_forward(groups, {"blue": 100, "green": 0})],
    )["Listeners"][0]["ListenerArn"]
    rules = {}
    for priority, color in enumerate(groups, start=1):
        made = elb.create_rule(
            ListenerArn=listener,
            Priority=priority,
            Conditions=[
                {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": HEADER, "Values": [color]}}
            ],
            Actions=[{"Type": "forward", "TargetGroupArn": groups[color]}],
        )
        rules[color] = made["Rules"][0]["RuleArn"]
    return Balancer(aws, elb, groups, rules)
