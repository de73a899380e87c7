"""Airflow's REST API on Amazon MWAA: requests go through AWS, which signs them in by the caller's IAM role.

https://docs.aws.amazon.com/mwaa/latest/userguide/access-mwaa-apache-airflow-rest-api.html
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any
from urllib.parse import unquote

import httpx
from botocore.exceptions import ClientError

from autotrader.adapters import aws
from autotrader.config.settings import AwsSettings
from autotrader.domain.errors import Rejected

URL = "https://mwaa"  # of no host: AWS is told the path
_BASE = "/api/v2"  # MWAA puts the API's own version before a path
_LONGEST_PATH = 64  # https://docs.aws.amazon.com/mwaa/latest/API/API_InvokeRestApi.html
_TASKS_OF_A_RUN = re.compile(r"/dags/([^/]+)/dagRuns/([^/]+)/taskInstances")
# What Airflow answered, told by AWS as an error.
_ANSWERS = ("RestApiClientException", "RestApiServerException")


class MwaaTransport(httpx.BaseTransport):
    """Sends a request by `InvokeRestApi`; what Airflow answered is the response, whatever its status.

    Parameters
    ----------
    settings : AwsSettings
    environment : str
        Name of the MWAA environment.
    timeout_seconds : float
        Patience with one answer; MWAA itself gives up after 10 s.
    """

    def __init__(self, settings: AwsSettings, environment: str, *, timeout_seconds: float) -> None:
        # Asked once: whoever asks looks again, and a trigger whose answer was lost is found by its run id.
        patience = {"timeout_seconds": timeout_seconds, "attempts": 1}
        self._mwaa = aws.client(settings.model_copy(update=patience), "mwaa")
        self._environment = environment

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As `httpx.BaseTransport`.

        Raises
        ------
        Unreachable, Throttled, Rejected, NotFound, ConfigurationError
            If AWS does not let us ask.
        """
        asked = _of_tasks(request) or _as_it_is(request)
        path = asked["Path"]
        if len(path) > _LONGEST_PATH:
            raise Rejected(f"expected a path of at most {_LONGEST_PATH} characters for MWAA, was {path}")
        with aws.aws_errors(f"ask MWAA for {asked['Method']} {path}"):
            try:
                answer = self._mwaa.invoke_rest_api(Name=self._environment, **asked)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in _ANSWERS:
                    raise
                answer = error.response
        status, said = answer["RestApiStatusCode"], answer.get("RestApiResponse")
        return httpx.Response(status, json=said, request=request)


def _as_it_is(request: httpx.Request) -> dict[str, Any]:
    asked: dict[str, Any] = {"Path": _path(request.url), "Method": request.method}
    if query := _query(request.url):
        asked["QueryParameters"] = query
    if content := request.read():
        asked["Body"] = json.loads(content)
    return asked


def _of_tasks(request: httpx.Request) -> dict[str, Any] | None:
    """The list of a run's tasks, asked for by a body: with the ids in it the path would be too long."""
    ids = _TASKS_OF_A_RUN.fullmatch(_path(request.url))
    if ids is None or request.method != "GET" or "~" in ids.groups():
        return None
    dag_id, run_id = (unquote(found) for found in ids.groups())
    body = {"dag_ids": [dag_id], "dag_run_ids": [run_id]}
    page = {f"page_{name}": int(value) for name, value in request.url.params.items()}
    return {"Path": "/dags/~/dagRuns/~/taskInstances/list", "Method": "POST", "Body": body | page}


def _path(url: httpx.URL) -> str:
    return url.raw_path.partition(b"?")[0].decode().removeprefix(_BASE)


def _query(url: httpx.URL) -> dict[str, str | list[str]]:
    values: dict[str, list[str]] = defaultdict(list)
    for name, value in url.params.multi_items():
        values[name].append(value)
    return {name: found if len(found) > 1 else found[0] for name, found in values.items()}
