"""A local AWS in which the colours run: `python -m tests.fakes.aws.colours --port 5001`.

`TASKS_FOLDER` of its environment says where tasks keep their volumes and logs, `LOAD_BALANCER_PORT` on
which port of loopback the listener of that port answers. `GET /_tasks` lists the tasks of all services.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.fakes.aws.ecs_tasks import RunningTasks
from tests.fakes.aws.load_balancer import LoadBalancer
from tests.fakes.aws.server import Application, Environ, Faults, Faulty, StartResponse


def told(application: Application, tasks: RunningTasks) -> Application:
    """WSGI middleware that shows the tasks."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/_tasks":
            return application(environ, start_response)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(tasks.seen()).encode()]

    return answer


def serve(port: int, folder: Path, load_balancer_port: int) -> None:
    """Answer on loopback until the process is ended."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    tasks = RunningTasks(folder)
    tasks.install()
    LoadBalancer(load_balancer_port, tasks).start()
    moto: Any = DomainDispatcherApplication(create_backend_app)
    application: Any = told(Faulty(moto, Faults()), tasks)
    make_server("127.0.0.1", port, application, threaded=True).serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    serve(
        parser.parse_args().port,
        Path(os.environ["TASKS_FOLDER"]),
        int(os.environ["LOAD_BALANCER_PORT"]),
    )
