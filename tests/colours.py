"""Both colours on a local AWS, laid out as Terraform lays them out, for tests of the target `ecs`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import httpx

from autotrader.config.aws_names import AwsNames, Bucket
from autotrader.domain.rollout import Color
from autotrader.ports.deployment import Release
from tests.fakes import deployment_server
from tests.services import AWS_ENVIRONMENT, free_port, local_aws

NAMES = AwsNames("dev", "tests")
FETCH = ("python", "-m", "autotrader.deployment.fetch_release", "--folder", "/release/current")
SERVE = ("python", "-m", "autotrader.apps.serving")
STAND_IN = ("python", "-S", str(Path(deployment_server.__file__)))


@dataclass
class ColoursOnAws:
    """The local AWS with what Terraform makes of a cluster.

    Attributes
    ----------
    endpoint : str
        Of the load balancer.
    """

    url: str
    endpoint: str
    folder: Path
    _clients: dict[str, Any] = field(default_factory=dict)
    _http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60, trust_env=False))

    @property
    def environment(self) -> dict[str, str]:
        """Settings of a process that deploys there."""
        return {
            **AWS_ENVIRONMENT,
            "AUTOTRADER_DEPLOYMENT__TARGET": "ecs",
            "AUTOTRADER_DEPLOYMENT__ECS_ENDPOINT": self.endpoint,
            "AUTOTRADER_AWS__ENDPOINT_URL": self.url,
            "AUTOTRADER_AWS__REGION": "eu-west-1",
            "AUTOTRADER_AWS__PREFIX": NAMES.prefix,
        }

    def client(self, service: str) -> Any:
        if service not in self._clients:  # making one takes longer than most of what it is asked
            self._clients[service] = boto3.client(
                service,
                region_name="eu-west-1",
                endpoint_url=self.url,
                aws_access_key_id="testing",
                aws_secret_access_key="testing",
            )
        return self._clients[service]

    def tasks(self, color: Color) -> list[dict[str, Any]]:
        """Those of the colour's service, with the pids of their containers."""
        found = self._http.get(f"{self.url}/_tasks").json()
        return [task for task in found if task["service"] == NAMES.colour_service(color)]

    def pid(self, color: Color, container: str = "serving") -> int:
        (task,) = [task for task in self.tasks(color) if task["status"] == "RUNNING"]
        return int(task["pids"][container])

    def service(self, color: Color) -> Any:
        found = self.client("ecs").describe_services(
            cluster=NAMES.cluster, services=[NAMES.colour_service(color)]
        )
        return found["services"][0]

    def set_desired_count(self, color: Color, count: int) -> None:
        self.client("ecs").update_service(
            cluster=NAMES.cluster, service=NAMES.colour_service(color), desiredCount=count
        )

    def weights(self) -> dict[str, int]:
        """Of the listener's default action, by colour."""
        found = self.client("elbv2").describe_listeners(ListenerArns=[self._listener])["Listeners"][0]
        (action,) = found["DefaultActions"]
        shares = {g["TargetGroupArn"]: g["Weight"] for g in action["ForwardConfig"]["TargetGroups"]}
        return {color.value: shares.get(self._groups[color], 0) for color in Color}

    def set_weights(self, **weights: int) -> None:
        shares = [{"TargetGroupArn": self._groups[Color(c)], "Weight": w} for c, w in weights.items()]
        action = {"Type": "forward", "ForwardConfig": {"TargetGroups": shares}}
        self.client("elbv2").modify_listener(ListenerArn=self._listener, DefaultActions=[action])

    def lead(self, color: Color, to: Color) -> None:
        """Have the rule of a colour point at the target group of one: break-glass, and back."""
        action = {"Type": "forward", "TargetGroupArn": self._groups[to]}
        self.client("elbv2").modify_rule(RuleArn=self._rules[color], Actions=[action])

    @cached_property
    def _groups(self) -> dict[Color, str]:
        names = {NAMES.target_group(color): color for color in Color}
        found = self.client("elbv2").describe_target_groups(Names=list(names))["TargetGroups"]
        return {names[group["TargetGroupName"]]: group["TargetGroupArn"] for group in found}

    @cached_property
    def _listener(self) -> str:
        elb = self.client("elbv2")
        balancer = elb.describe_load_balancers(Names=[NAMES.load_balancer])["LoadBalancers"][0]
        found = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
        return str(found[0]["ListenerArn"])

    @cached_property
    def _rules(self) -> dict[Color, str]:
        rules = self.client("elbv2").describe_rules(ListenerArn=self._listener)["Rules"]
        of = [
            (c["HttpHeaderConfig"]["Values"], rule["RuleArn"]) for rule in rules for c in rule["Conditions"]
        ]
        return {color: next(arn for values, arn in of if color.value in values) for color in Color}

    def wait(self, holds: Callable[[], object], *, seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, [self.tasks(color) for color in Color]
            time.sleep(0.05)

    def reset(self) -> None:
        """Nothing runs, blue has the weights, and no rule leads astray."""
        for color in Color:
            for task in self.tasks(color):
                for pid in task["pids"].values():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
            self.set_desired_count(color, 0)
            self.lead(color, color)
        self.set_weights(blue=100, green=0)
        self.wait(lambda: not any(task["pids"] for color in Color for task in self.tasks(color)))

    def register(self, color: Color, *, extra: Mapping[str, str] = {}, **changes: Any) -> None:
        """A revision of the colour's task definition, as `terraform apply` makes it."""
        made = task_definition(color, environment={**self.environment, **extra}, **changes)
        self.client("ecs").register_task_definition(**made)


def task_definition(
    color: Color,
    *,
    image: str = "autotrader:platform-1",
    serve: Sequence[str] = SERVE,
    fetch: Sequence[str] = FETCH,
    environment: Mapping[str, str] = {},
    ship: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Three containers: one fetches the release, one serves it, and one ships what was predicted."""
    variables = [{"name": name, "value": value} for name, value in environment.items()]
    volumes = [{"sourceVolume": name, "containerPath": f"/{name}"} for name in ("release", "predictions")]
    common = {"image": image, "environment": variables, "mountPoints": volumes, "memory": 512}
    log = f"/predictions/{color.value}"
    words = ["--color", color.value, "--release", "/release/current", "--log", log, "--port", "8000"]
    if serve == SERVE:
        words += ["--host", "0.0.0.0"]  # noqa: S104 - in a container
    serving = {
        "name": "serving",
        "command": [*serve, *words],
        "portMappings": [{"containerPort": 8000}],
        "dependsOn": [{"containerName": "fetch", "condition": "SUCCESS"}],
        "essential": True,
        **common,
    }
    fetching = {"name": "fetch", "command": list(fetch), "essential": False, **common}
    shipper = {
        "name": "shipper",
        "command": list(ship or ()),
        "essential": False,
        "stopTimeout": 120,
        "dependsOn": [{"containerName": "fetch", "condition": "SUCCESS"}],
        **common,
    }
    return {
        "family": NAMES.task_family(f"serving-{color.value}"),
        "containerDefinitions": [fetching, serving, *([shipper] if ship else [])],
        "volumes": [{"name": "release"}, {"name": "predictions"}],
        "requiresCompatibilities": ["EC2"],
        "tags": [{"key": "environment", "value": "dev"}],
    }


@contextlib.contextmanager
def colours_on_aws(
    folder: Path, *, environment: Mapping[str, str] | None = None, **definition: Any
) -> Iterator[ColoursOnAws]:
    """A local AWS with both services at 0 tasks and blue with all the weight."""
    port = free_port()
    within = {
        "TASKS_FOLDER": str(folder / "tasks"),
        "LOAD_BALANCER_PORT": str(port),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(Path.cwd()), os.environ.get("PYTHONPATH")))),
    }
    with local_aws(folder, program="tests.fakes.aws.colours", environment=within) as url:
        made = ColoursOnAws(url, f"http://127.0.0.1:{port}", folder / "tasks")
        _lay_out(made, port, {**made.environment, **(environment or {})}, definition)
        yield made


def _lay_out(
    made: ColoursOnAws, port: int, environment: Mapping[str, str], definition: Mapping[str, Any]
) -> None:
    ecs, elb, ec2, s3 = (made.client(name) for name in ("ecs", "elbv2", "ec2", "s3"))
    s3.create_bucket(
        Bucket=NAMES.bucket(Bucket.MODELS), CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    ecs.create_cluster(clusterName=NAMES.cluster)
    subnets = ec2.describe_subnets()["Subnets"]
    balancer = elb.create_load_balancer(
        Name=NAMES.load_balancer,
        Subnets=[subnet["SubnetId"] for subnet in subnets[:2]],
        Scheme="internal",
    )["LoadBalancers"][0]["LoadBalancerArn"]
    groups = {}
    for color in Color:
        group = elb.create_target_group(
            Name=NAMES.target_group(color),
            Protocol="HTTP",
            Port=8000,
            VpcId=subnets[0]["VpcId"],
            TargetType="ip",
            HealthCheckPath="/health",
        )
        groups[color] = group["TargetGroups"][0]["TargetGroupArn"]
        ecs.register_task_definition(**task_definition(color, environment=environment, **definition))
        ecs.create_service(
            cluster=NAMES.cluster,
            serviceName=NAMES.colour_service(color),
            taskDefinition=NAMES.task_family(f"serving-{color.value}"),
            desiredCount=0,
            loadBalancers=[
                {"targetGroupArn": groups[color], "containerName": "serving", "containerPort": 8000}
            ],
        )
    shares = [{"TargetGroupArn": groups[c], "Weight": w} for c, w in zip(Color, (100, 0), strict=True)]
    listener = elb.create_listener(
        LoadBalancerArn=balancer,
        Protocol="HTTP",
        Port=port,
        DefaultActions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": shares}}],
    )["Listeners"][0]["ListenerArn"]
    for number, color in enumerate(Color, start=1):
        header = {"HttpHeaderName": "X-Autotrader-Color", "Values": [color.value]}
        elb.create_rule(
            ListenerArn=listener,
            Priority=number,
            Conditions=[{"Field": "http-header", "HttpHeaderConfig": header}],
            Actions=[{"Type": "forward", "TargetGroupArn": groups[color]}],
        )


def stand_in_release(folder: Path, version: str = "v1.0.0", **behaviour: Any) -> Release:
    """A release that the stand-in for the service takes for one, with a true digest."""
    place = folder / version
    deployment_server.write_release(place, version, **behaviour)
    digest = hashlib.sha256((place / "model.onnx").read_bytes()).hexdigest()
    return Release("strategy", version, str(place), digest, "balanced-v1")
