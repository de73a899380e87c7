"""Single tasks of ECS before all else of the local AWS: `python -m tests.fakes.aws.step_tasks --port 5001`.

RunTask really runs the container's command, as a process with this interpreter, and DescribeTasks tells
what became of it. `POST /_step_tasks` with a JSON list of plans says which tasks end otherwise; `GET`
lists all tasks, with how often DescribeTasks was asked for each. A plan names a step (`*` is any), how
often (`times`, 1), and an `end`:

- `no_room`: RunTask answers with a failure and starts nothing;
- `cannot_start`: stops before its container began, with `reason`;
- `never_begins`: pending until somebody stops it;
- `spot`, `out_of_memory`, `stopped`: its process is killed after `seconds`.

Limits are those of the real thing that our code could run into: one task a client token, overrides of at
most 8192 characters, and a list by `startedBy` has only tasks that are meant to run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

SERVICE = "AmazonEC2ContainerServiceV20141113."
CONTAINER = "step"
_MOST_OVERRIDES = 8192
_KILLED = {
    "spot": ("SpotInterruption", "Your Spot Task was interrupted.", None),
    "out_of_memory": (
        "EssentialContainerExited",
        "Essential container in task exited",
        "OutOfMemoryError: Container killed due to memory usage",
    ),
    "stopped": ("UserInitiated", "Task stopped by user", None),
}


class Said(Exception):
    """What AWS answers instead of a result."""

    def __init__(self, code: str, message: str, **more: object) -> None:
        super().__init__(message)
        self.body = {"__type": code, "message": message, **more}


@dataclass
class Plan:
    step: str = "*"
    end: str = "no_room"
    times: int = 1
    seconds: float = 0.0
    reason: str = ""


@dataclass
class Task:
    arn: str
    request: dict[str, Any]
    plan: Plan | None
    process: subprocess.Popen[bytes] | None = None
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: tuple[str, str, str | None] | None = None
    looks: int = 0

    @property
    def command(self) -> list[str]:
        command: list[str] = self.request["overrides"]["containerOverrides"][0]["command"]
        return command

    def begin(self) -> None:
        if self.plan is not None and self.plan.end == "cannot_start":
            self.ended = ("TaskFailedToStart", self.plan.reason, None)
        elif self.plan is None or self.plan.end != "never_begins":
            program = {"python": sys.executable}.get(self.command[0], self.command[0])
            self.process = subprocess.Popen([program, *self.command[1:]], start_new_session=True)
            self.started = time.time()

    def tell(self) -> str:
        """Bring what is known up to date; returns the last status."""
        if self.ended is None and self.process is not None:
            if self.plan is not None and time.time() - self.created >= self.plan.seconds:
                self.end(_KILLED[self.plan.end])
            elif self.process.poll() is not None:
                self.ended = ("EssentialContainerExited", "Essential container in task exited", None)
        if self.ended is not None:
            return "STOPPED"
        return "RUNNING" if self.started else "PENDING"

    def end(self, why: tuple[str, str, str | None]) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.ended = self.ended or why

    def described(self) -> dict[str, Any]:
        status = self.tell()
        container: dict[str, Any] = {"name": CONTAINER, "lastStatus": status}
        told: dict[str, Any] = {
            "taskArn": self.arn,
            "lastStatus": status,
            "desiredStatus": "STOPPED" if self.ended else "RUNNING",
            "createdAt": self.created,
            "startedBy": self.request.get("startedBy"),
            "memory": self.request["overrides"].get("memory", "2048"),
            "overrides": self.request["overrides"],
            "containers": [container],
        }
        if self.started:
            told["startedAt"] = self.started
        if self.ended:
            told["stopCode"], told["stoppedReason"], reason = self.ended
            if reason:
                container["reason"] = reason
            if self.process is not None:
                code = self.process.returncode
                container["exitCode"] = code if code >= 0 else 128 - code
        return told


class StepTasks:
    """WSGI middleware: tasks are ours, all else goes on."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._lock = threading.Lock()
        self._tasks: dict[str, Task] = {}
        self._tokens: dict[str, Task] = {}
        self._plans: list[Plan] = []

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        action = str(environ.get("HTTP_X_AMZ_TARGET", "")).removeprefix(SERVICE)
        answers = {
            "RunTask": self._run,
            "DescribeTasks": self._describe,
            "StopTask": self._stop,
            "ListTasks": self._list,
        }
        if environ.get("PATH_INFO") == "/_step_tasks":
            return self._talk(environ, start_response)
        if action not in answers:
            return self._application(environ, start_response)
        request = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        try:
            if not request["cluster"].startswith("autotrader-"):
                raise Said("ClusterNotFoundException", "Cluster not found.")
            with self._lock:
                status, body = "200 OK", answers[action](request)
        except Said as said:
            status, body = "400 Bad Request", said.body
        start_response(status, [("Content-Type", "application/x-amz-json-1.1")])
        return [json.dumps(body).encode()]

    def close(self) -> None:
        for task in self._tasks.values():
            task.end(("UserInitiated", "the end", None))

    def _run(self, request: dict[str, Any]) -> dict[str, Any]:
        overrides = request["overrides"]
        if len(json.dumps(overrides)) > _MOST_OVERRIDES:
            raise Said("InvalidParameterException", "Container Overrides length must be at most 8192")
        if overrides["containerOverrides"][0]["name"] != CONTAINER:
            raise Said("InvalidParameterException", "Override is not a container in the TaskDefinition.")
        if not request["taskDefinition"].startswith("autotrader-"):
            raise Said("ClientException", "TaskDefinition not found.")
        token = request.get("clientToken")
        if token in self._tokens:
            known = self._tokens[token]
            if known.request != request:
                raise Said("ConflictException", "The token is taken.", resourceIds=[known.arn])
            return {"tasks": [known.described()], "failures": []}
        name = overrides["containerOverrides"][0]["command"][4]
        plan = self._take(name)
        if plan is not None and plan.end == "no_room":
            reason = "Capacity is unavailable at this time. Please try again later"
            return {"tasks": [], "failures": [{"reason": reason}]}
        arn = f"arn:aws:ecs:eu-west-1:123456789012:task/{request['cluster']}/{uuid.uuid4().hex}"
        task = Task(arn, request, plan)
        self._tasks[arn] = task
        if token:
            self._tokens[token] = task
        told = task.described()
        task.begin()
        return {"tasks": [told], "failures": []}

    def _take(self, name: str) -> Plan | None:
        for plan in self._plans:
            if plan.step in (name, "*"):
                plan.times -= 1
                if plan.times <= 0:
                    self._plans.remove(plan)
                return plan
        return None

    def _describe(self, request: dict[str, Any]) -> dict[str, Any]:
        asked = request["tasks"]
        for arn in asked:
            if arn in self._tasks:
                self._tasks[arn].looks += 1
        return {
            "tasks": [self._tasks[arn].described() for arn in asked if arn in self._tasks],
            "failures": [{"arn": arn, "reason": "MISSING"} for arn in asked if arn not in self._tasks],
        }

    def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        task = self._tasks[request["task"]]
        if task.tell() != "STOPPED":
            task.end(("UserInitiated", request.get("reason", ""), None))
        return {"task": task.described()}

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = request.get("startedBy")
        running = [t.arn for t in self._tasks.values() if t.tell() != "STOPPED"]
        return {"taskArns": [a for a in running if self._tasks[a].request.get("startedBy") == wanted]}

    def _talk(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            if environ["REQUEST_METHOD"] == "POST":
                asked = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
                self._plans = [Plan(**plan) for plan in asked]
            told = [{**task.described(), "looks": task.looks} for task in self._tasks.values()]
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(told).encode()]


def serve(port: int) -> None:
    """Answer on loopback until the process is ended; its tasks end with it."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    from tests.fakes.aws.server import Faults, Faulty

    tasks = StepTasks(DomainDispatcherApplication(create_backend_app))
    application: Any = Faulty(tasks, Faults())
    server = make_server("127.0.0.1", port, application, threaded=True)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    try:
        server.serve_forever()
    finally:
        tasks.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    serve(parser.parse_args().port)
