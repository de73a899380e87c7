"""What moto lacks of ECS: behind a service, tasks that really run, each a few processes of this machine.

A container's command is started as it stands in the task definition, with its environment. What differs:
its volumes are folders of the task, its port is a free one of loopback, and its image is not looked at,
except that one with the tag `missing` cannot be pulled. Containers wait for those that they depend on
with SUCCESS; an essential one that ends ends the task; a stopped task gets SIGTERM and, after its
`stopTimeout`, SIGKILL. A service replaces its tasks one deployment by the next, as ECS does with 100 and
200 %: the new ones must be healthy targets before the old ones are ended. Not done: circuit breaker,
replacement of unhealthy tasks, container restart policies, placement.
"""

from __future__ import annotations

import contextlib
import http
import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.services import free_port

LOOK_SECONDS = 0.2
# Between a target's removal from the load balancer and its end.
DEREGISTRATION_SECONDS = 0.2
PULL_SECONDS = 0.2
RETRY_SECONDS = 1.0
UNHEALTHY_AFTER = 3
_ANYWHERE, _HERE = "0.0.0.0", "127.0.0.1"  # noqa: S104 - what a container binds to


@dataclass
class Task:
    """One task of a service, from its start to its end; a thread sees to it.

    Attributes
    ----------
    target : str
        State of its target in the load balancer.
    was_healthy : bool
    """

    arn: str
    definition: Any
    folder: Path
    group: str
    port: int = 0
    target: str = "initial"
    was_healthy: bool = False
    last_status: str = "PROVISIONING"
    desired_status: str = "RUNNING"
    stop_code: str | None = None
    stopped_reason: str | None = None
    stopped_at: datetime | None = None
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    told_to_stop: threading.Event = field(default_factory=threading.Event)
    _misses: int = 0

    @property
    def task_arn(self) -> str:
        return self.arn

    @property
    def is_over(self) -> bool:
        return self.last_status == "STOPPED"

    def start(self) -> None:
        threading.Thread(target=self._live, daemon=True).start()

    def stop(self, reason: str) -> None:
        """Take it out of the load balancer, then end it."""
        if self.desired_status == "STOPPED":
            return
        self.desired_status, self.target = "STOPPED", "draining"
        self.stop_code, self.stopped_reason = "ServiceSchedulerInitiated", reason
        self.told_to_stop.set()

    def described(self) -> dict[str, Any]:
        return {
            "taskArn": self.arn,
            "taskDefinitionArn": self.definition.arn,
            "group": self.group,
            "lastStatus": self.last_status,
            "desiredStatus": self.desired_status,
            "stopCode": self.stop_code,
            "stoppedReason": self.stopped_reason,
            "stoppedAt": self.stopped_at,
            "containers": [self._described(c["name"]) for c in self.definition.container_definitions],
        }

    def look(self) -> None:
        """The load balancer's health check."""
        if self.last_status != "RUNNING" or self.desired_status == "STOPPED":
            return
        well = _is_well(self.port)
        self._misses = 0 if well else self._misses + 1
        if self.desired_status == "STOPPED":
            return
        if well:
            self.target, self.was_healthy = "healthy", True
        elif self._misses >= UNHEALTHY_AFTER and self.was_healthy:
            self.target = "unhealthy"

    def _live(self) -> None:
        try:
            if self._come_up():
                self.last_status = "RUNNING"
                self._watch()
        finally:
            self._end()

    def _come_up(self) -> bool:
        time.sleep(PULL_SECONDS)
        containers = self.definition.container_definitions
        for container in containers:
            if str(container["image"]).endswith(":missing"):
                self.reasons[container["name"]] = "CannotPullContainerError: manifest not found"
                return self._fail("TaskFailedToStart", "CannotPullContainerError: pull image manifest")
        self.port = free_port()
        awaited = {
            d["containerName"]
            for c in containers
            for d in c.get("dependsOn", [])
            if d["condition"] in ("SUCCESS", "COMPLETE")
        }
        for container in sorted(containers, key=lambda c: c["name"] not in awaited):
            name = container["name"]
            process = self.processes[name] = self._start(container)
            while name in awaited and process.poll() is None and not self.told_to_stop.is_set():
                time.sleep(0.02)
            if name in awaited and process.poll():
                return self._fail("TaskFailedToStart", f"Container {name} did not end well")
        return not self.told_to_stop.is_set()

    def _watch(self) -> None:
        essential = [c["name"] for c in self.definition.container_definitions if c.get("essential", True)]
        while not self.told_to_stop.wait(0.02):
            if any(self.processes[name].poll() is not None for name in essential):
                self._fail("EssentialContainerExited", "Essential container in task exited")
                return

    def _fail(self, code: str, reason: str) -> bool:
        if not self.told_to_stop.is_set():
            self.stop_code, self.stopped_reason = code, reason
            self.desired_status, self.target = "STOPPED", "draining"
        return False

    def _end(self) -> None:
        if self.was_healthy and self.stop_code == "ServiceSchedulerInitiated":
            time.sleep(DEREGISTRATION_SECONDS)
        began = time.monotonic()
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for container in self.definition.container_definitions:
            process = self.processes.get(container["name"])
            if process is not None:
                patience = began + float(container.get("stopTimeout", 30)) - time.monotonic()
                try:
                    process.wait(max(0.0, patience))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.desired_status = self.last_status = "STOPPED"
        self.target = "unused"
        self.stopped_at = datetime.now(UTC)

    def _start(self, container: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [*container.get("entryPoint", []), *container["command"]]
        ports = {str(p["containerPort"]) for p in container.get("portMappings", [])}
        with (self.folder / f"{container['name']}.log").open("ab") as log:
            return subprocess.Popen(
                [self._here(word, container, ports) for word in command],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **{pair["name"]: pair["value"] for pair in container["environment"]}},
            )

    def _here(self, word: str, container: Mapping[str, Any], ports: set[str]) -> str:
        """A word of the command, with the container's places replaced by the task's."""
        if word in ports:
            return str(self.port)
        for mount in container.get("mountPoints", []):
            path = mount["containerPath"]
            if word == path or word.startswith(f"{path}/"):
                place = self.folder / mount["sourceVolume"]
                place.mkdir(parents=True, exist_ok=True)
                return str(place) + word.removeprefix(path)
        return {"python": sys.executable, _ANYWHERE: _HERE}.get(word, word)

    def _described(self, name: str) -> dict[str, Any]:
        process = self.processes.get(name)
        code = None if process is None else process.poll()
        status = "PENDING" if process is None else "RUNNING" if code is None else "STOPPED"
        said = {"name": name, "lastStatus": status, "reason": self.reasons.get(name)}
        return said if code is None else {**said, "exitCode": code if code >= 0 else 128 - code}


class ServiceTasks:
    """The tasks of one of moto's services; it brings them to what the service says."""

    def __init__(self, service: Any, folder: Path) -> None:
        self.service = service
        self.tasks: list[Task] = []
        self._folder = folder
        self._failed: dict[str, int] = {}
        self._next_start = 0.0

    def reconcile(self) -> None:
        service, now = self.service, time.monotonic()
        wanted = self._definition()
        alive = [task for task in self.tasks if task.desired_status == "RUNNING"]
        new = [task for task in alive if task.definition.arn == wanted.arn]
        for task in self.tasks:
            if task.is_over and not task.was_healthy and task.stop_code != "ServiceSchedulerInitiated":
                self._failed.setdefault(task.arn, 1)
                self._next_start = max(self._next_start, _monotonic_of(task) + RETRY_SECONDS)
        if len(new) < service.desired_count and now >= self._next_start:
            self._start(wanted)
        for task in new[service.desired_count :]:
            task.stop("Scaling activity initiated by (deployment)")
        healthy = sum(task.target == "healthy" for task in new)
        if healthy >= service.desired_count:
            for task in alive:
                if task not in new:
                    task.stop("Scaling activity initiated by (deployment)")
        self.tell(wanted)

    def tell(self, wanted: Any | None = None) -> None:
        """Write what is so into moto's service."""
        service = self.service
        wanted = wanted or self._definition()
        of: dict[str, list[Task]] = {wanted.arn: []}
        for task in self.tasks:
            if not task.is_over:
                of.setdefault(task.definition.arn, []).append(task)
        service.deployments = [
            self._deployment(arn, tasks, is_primary=arn == wanted.arn) for arn, tasks in of.items()
        ]
        service.running_count = sum(d["runningCount"] for d in service.deployments)
        service.pending_count = sum(d["pendingCount"] for d in service.deployments)

    def _definition(self) -> Any:
        return self.service._backend.describe_task_definition(self.service.task_definition)

    def _start(self, definition: Any) -> None:
        id_ = uuid4().hex
        arn = f"{self.service.cluster_arn.replace(':cluster/', ':task/')}/{id_}"
        task = Task(arn, definition, self._folder / id_[:12], f"service:{self.service.name}")
        self.tasks.append(task)
        task.start()

    def _deployment(self, arn: str, tasks: list[Task], *, is_primary: bool) -> dict[str, Any]:
        running = sum(task.last_status == "RUNNING" for task in tasks)
        done = is_primary and sum(t.target == "healthy" for t in tasks) == self.service.desired_count
        of_it = {task.arn for task in self.tasks if task.definition.arn == arn}
        return {
            "id": f"ecs-svc/{arn.rpartition(':')[2]}",
            "status": "PRIMARY" if is_primary else "ACTIVE",
            "taskDefinition": arn,
            "desiredCount": self.service.desired_count if is_primary else 0,
            "runningCount": running,
            "pendingCount": len(tasks) - running,
            "failedTasks": sum(n for task, n in self._failed.items() if task in of_it),
            "rolloutState": "COMPLETED" if done else "IN_PROGRESS",
            "rolloutStateReason": f"ECS deployment {'completed' if done else 'in progress'}.",
        }


class RunningTasks:
    """All services' tasks of this AWS; `install` puts them behind moto's answers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._services: dict[str, ServiceTasks] = {}
        self._lock = threading.RLock()

    def install(self) -> None:
        from moto.ecs.models import EC2ContainerServiceBackend as Ecs
        from moto.elbv2.models import ELBv2Backend as Elb
        from moto.elbv2.models import FakeHealthStatus

        services, listed, described = Ecs.describe_services, Ecs.list_tasks, Ecs.describe_tasks
        health = Elb.describe_target_health

        def describe_services(backend: Any, *arguments: Any) -> Any:
            self.refresh()
            return services(backend, *arguments)

        def list_tasks(
            backend: Any,
            cluster: Any = None,
            instance: Any = None,
            family: Any = None,
            by: Any = None,
            service_name: str | None = None,
            status: str | None = None,
        ) -> Any:
            if service_name is None:
                return listed(backend, cluster, instance, family, by, None, status)
            of = [s for s in self._all() if s.service.name == service_name.rpartition("/")[2]]
            return [t for s in of for t in s.tasks if t.desired_status == (status or "RUNNING")]

        def describe_tasks(backend: Any, cluster: str, arns: list[str]) -> Any:
            ours = {task.arn: task for s in self._all() for task in s.tasks}
            others = [arn for arn in arns if arn not in ours]
            theirs = described(backend, cluster, others) if others else []
            return [*(ours[arn].described() for arn in arns if arn in ours), *theirs]

        def describe_target_health(backend: Any, group: str, targets: Any) -> Any:
            ours = [task for task in self.targets(group) if task.target != "unused" and task.port]
            if not ours:
                return health(backend, group, targets)
            return [FakeHealthStatus(_HERE, str(t.port), None, t.target, None, None) for t in ours]

        Ecs.describe_services = describe_services  # type: ignore[assignment]
        Ecs.list_tasks = list_tasks  # type: ignore[assignment]
        Ecs.describe_tasks = describe_tasks  # type: ignore[assignment]
        Elb.describe_target_health = describe_target_health  # type: ignore[assignment]
        threading.Thread(target=self._see_to_all, daemon=True).start()

    def targets(self, group: str) -> list[Task]:
        """Tasks of the services that are behind this target group, by its ARN."""
        return [
            task
            for s in self._all()
            if any(balancer.get("targetGroupArn") == group for balancer in s.service.load_balancers)
            for task in s.tasks
        ]

    def refresh(self) -> None:
        with self._lock:
            for service in self._all():
                service.tell()

    def seen(self) -> list[dict[str, object]]:
        """Every task with the pids of its containers, for tests that do something to them."""
        return [
            {
                "service": s.service.name,
                "arn": task.arn,
                "definition": task.definition.arn,
                "status": task.last_status,
                "target": task.target,
                "port": task.port,
                "folder": str(task.folder),
                "pids": {name: p.pid for name, p in list(task.processes.items()) if p.poll() is None},
            }
            for s in self._all()
            for task in s.tasks
        ]

    def _all(self) -> list[ServiceTasks]:
        with self._lock:
            return list(self._services.values())

    def _see_to_all(self) -> None:
        threading.Thread(target=self._look_at_all, daemon=True).start()
        while True:
            with self._lock:
                for key, service in _services_of_moto():
                    if key not in self._services:
                        self._services[key] = ServiceTasks(service, self._folder / service.name)
                for tasks in self._services.values():
                    tasks.reconcile()
            time.sleep(0.05)

    def _look_at_all(self) -> None:
        while True:
            for service in self._all():
                for task in list(service.tasks):
                    task.look()
            time.sleep(LOOK_SECONDS)


def _services_of_moto() -> Iterator[tuple[str, Any]]:
    from moto.ecs.models import ecs_backends

    for account, regions in list(ecs_backends.items()):
        for region, backend in list(regions.items()):
            for name, service in list(backend.services.items()):
                if service.load_balancers:
                    yield f"{account}:{region}:{name}", service


def _monotonic_of(task: Task) -> float:
    assert task.stopped_at is not None
    return time.monotonic() - (datetime.now(UTC) - task.stopped_at).total_seconds()


def _is_well(port: int) -> bool:
    asking = http.client.HTTPConnection(_HERE, port, timeout=1)
    try:
        asking.request("GET", "/health")
        return asking.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asking.close()
