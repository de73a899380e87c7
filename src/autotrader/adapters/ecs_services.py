"""The services `trading-blue` and `trading-green` of the cluster: what they run, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from autotrader.adapters.aws import aws_errors
from autotrader.config.aws_names import AwsNames
from autotrader.config.settings import PREFIX
from autotrader.domain.errors import NotFound
from autotrader.domain.rollout import Color

log = structlog.get_logger(__name__)

# What a task is told of its release, in each of its containers.
URI, VERSION, DIGEST = (f"{PREFIX}RELEASE__{name}" for name in ("URI", "VERSION", "ONNX_SHA256"))
STOPPED_TASKS_SHOWN = 2


@dataclass(frozen=True, slots=True)
class Rollover:
    """One of a service's deployments: the newest, or one that it replaces.

    Attributes
    ----------
    version : str or None
        Of the release that its tasks serve.
    state : str
        ECS's word for how far it is, with its reason.
    """

    version: str | None
    running: int
    pending: int
    failed: int
    state: str


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What ECS says of a service.

    Attributes
    ----------
    newest : Rollover
    replaced : tuple of Rollover
        Still being ended.
    """

    desired: int
    newest: Rollover
    replaced: tuple[Rollover, ...]

    @property
    def running(self) -> int:
        return self.newest.running + sum(old.running for old in self.replaced)

    @property
    def is_mixed(self) -> bool:
        """Whether tasks of another version may answer, too."""
        return any(old.version != self.newest.version and old.running for old in self.replaced)

    def __str__(self) -> str:
        new = self.newest
        failed = f", {new.failed} failed" if new.failed else ""
        old = "".join(f"; {o.running} of {o.version or 'no release'} run on" for o in self.replaced)
        return (
            f"{new.running} of {self.desired} tasks of {new.version or 'no release'} run"
            f" ({new.pending} pending{failed}; {new.state}){old}"
        )


class ColourServices:
    """Both colours' services of one cluster, made by Terraform.

    Parameters
    ----------
    ecs
        boto3's client.
    names : AwsNames
    """

    def __init__(self, ecs: Any, names: AwsNames) -> None:
        self._ecs = ecs
        self._names = names
        self._version_of: dict[str, str | None] = {}  # a revision never changes

    def state(self, color: Color) -> ServiceState | None:
        """What the colour's service is at; None where there is no such service.

        Raises
        ------
        DependencyError, ConfigurationError
        """
        service = self._find(color)
        if service is None:
            return None
        deployments = service["deployments"]
        newest = next(d for d in deployments if d["status"] == "PRIMARY")
        return ServiceState(
            desired=service["desiredCount"],
            newest=self._rollover(newest),
            replaced=tuple(self._rollover(d) for d in deployments if d is not newest),
        )

    def run(self, color: Color, environment: Mapping[str, str]) -> None:
        """Have the service run tasks with this in their environment, at least one.

        What it runs already is left alone; called again after a kill, it goes on.

        Raises
        ------
        NotFound
            If Terraform has made no such service or task definition.
        DependencyError, ConfigurationError
        """
        service = self._find(color)
        if service is None:
            raise NotFound(f"{self._missing(color)}: terraform apply makes it")
        definition = self._definition(color, environment)
        if service["taskDefinition"] == definition and service["desiredCount"] >= 1:
            return
        self._update(color, taskDefinition=definition, desiredCount=max(1, service["desiredCount"]))

    def stop(self, color: Color) -> None:
        """Have the service run nothing; one that does not exist runs nothing.

        Raises
        ------
        DependencyError, ConfigurationError
        """
        service = self._find(color)
        if service is None:
            log.warning("nothing to stop", reason=self._missing(color))
        elif service["desiredCount"] != 0:
            self._update(color, desiredCount=0)

    def why_stopped(self, color: Color) -> Sequence[str]:
        """Of the tasks that ended last, why, and of their containers, which failed; newest first.

        Raises
        ------
        DependencyError, ConfigurationError
        """
        cluster = self._names.cluster
        with aws_errors(f"look at stopped tasks of {self._service(color)}"):
            arns = self._ecs.list_tasks(
                cluster=cluster, serviceName=self._service(color), desiredStatus="STOPPED"
            )["taskArns"]
            tasks = self._ecs.describe_tasks(cluster=cluster, tasks=arns[:100])["tasks"] if arns else []
        stopped = [task for task in tasks if task.get("stoppedAt")]
        stopped.sort(key=lambda task: task["stoppedAt"], reverse=True)
        return [_why(task) for task in stopped[:STOPPED_TASKS_SHOWN]]

    def _service(self, color: Color) -> str:
        return self._names.colour_service(color.value)

    def _missing(self, color: Color) -> str:
        return f"expected a service {self._service(color)} in cluster {self._names.cluster}, was none"

    def _find(self, color: Color) -> Any | None:
        name = self._service(color)
        with aws_errors(f"look at service {name}"):
            found = self._ecs.describe_services(cluster=self._names.cluster, services=[name])["services"]
        return next((service for service in found if service["status"] == "ACTIVE"), None)

    def _update(self, color: Color, **changes: object) -> None:
        name = self._service(color)
        with aws_errors(f"update service {name}"):
            self._ecs.update_service(cluster=self._names.cluster, service=name, **changes)
        log.info("service updated", service=name, **changes)

    def _definition(self, color: Color, environment: Mapping[str, str]) -> str:
        """The newest revision of the family with this in its environment, registered unless it has it."""
        family = self._names.task_family(f"serving-{color.value}")
        with aws_errors(f"read task definition {family}"):
            found = self._ecs.describe_task_definition(taskDefinition=family, include=["TAGS"])
        newest = found["taskDefinition"]
        containers = [_with(container, environment) for container in newest["containerDefinitions"]]
        if all(map(_has_all(environment), newest["containerDefinitions"])):
            return str(newest["taskDefinitionArn"])
        # Whatever else Terraform put there goes into the new revision, except what ECS adds itself.
        accepted = self._ecs.meta.service_model.operation_model("RegisterTaskDefinition").input_shape.members
        wanted = {name: value for name, value in newest.items() if name in accepted and value}
        wanted["containerDefinitions"] = containers
        if found.get("tags"):
            wanted["tags"] = found["tags"]
        with aws_errors(f"register task definition {family}"):
            made = self._ecs.register_task_definition(**wanted)
        arn = str(made["taskDefinition"]["taskDefinitionArn"])
        log.info("task definition registered", arn=arn, release=environment.get(VERSION))
        return arn

    def _rollover(self, deployment: Any) -> Rollover:
        reason = deployment.get("rolloutStateReason", "")
        return Rollover(
            version=self._version(deployment["taskDefinition"]),
            running=deployment["runningCount"],
            pending=deployment["pendingCount"],
            failed=deployment.get("failedTasks", 0),
            state=": ".join(filter(None, (deployment.get("rolloutState", ""), reason))),
        )

    def _version(self, arn: str) -> str | None:
        if arn not in self._version_of:
            with aws_errors(f"read task definition {arn}"):
                found = self._ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
            containers = found["containerDefinitions"]
            versions = {_environment(container).get(VERSION) for container in containers}
            self._version_of[arn] = versions.pop() if len(versions) == 1 else None
        return self._version_of[arn]


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    return {pair["name"]: pair["value"] for pair in container.get("environment", [])}


def _with(container: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    merged = {**_environment(container), **environment}
    pairs = [{"name": name, "value": merged[name]} for name in sorted(merged)]
    return {**container, "environment": pairs}


def _has_all(environment: Mapping[str, str]) -> Any:
    return lambda container: environment.items() <= _environment(container).items()


def _why(task: Mapping[str, Any]) -> str:
    containers = [
        f"{c['name']}: {c.get('reason') or 'exit code ' + str(c.get('exitCode'))}"
        for c in task.get("containers", [])
        if c.get("reason") or c.get("exitCode")
    ]
    said = task.get("stoppedReason") or "for no reason that ECS tells"
    return f"a task stopped at {task['stoppedAt']:%T} UTC: {said}" + (
        f" ({'; '.join(containers)})" if containers else ""
    )
