"""A stand-in for Amazon MWAA's `InvokeRestApi`, in front of a stand-in for Airflow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.fakes.airflow_server import StandInAirflow

LONGEST_PATH = 64


@dataclass
class StandInMwaa(StandInAirflow):
    """One environment; served by `tests.fakes.airflow_server.serve`.

    `refusal` is the code of an error that AWS itself answers with; `asked_for` has what came through.
    """

    airflow: StandInAirflow = field(default_factory=StandInAirflow)
    environment: str = "autotrader-dev"
    refusal: str = ""
    asked_for: list[dict[str, Any]] = field(default_factory=list)

    def asked(
        self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        if self.refusal:
            return 403, {"__type": self.refusal, "Message": "refused for the test"}
        if (method, path) != ("POST", f"/restapi/{self.environment}"):
            return 404, {"__type": "ResourceNotFoundException", "message": f"no environment at {path}"}
        if len(body["Path"]) > LONGEST_PATH:
            return 400, {"__type": "ValidationException", "message": "path is too long"}
        self.asked_for.append(body)
        values = {n: v if isinstance(v, list) else [v] for n, v in body.get("QueryParameters", {}).items()}
        status, said = self.airflow.asked(
            body["Method"], f"/api/v2{body['Path']}", values, body.get("Body", {})
        )
        told = {"RestApiStatusCode": status, "RestApiResponse": said}
        if status < 400:
            return 200, told
        return 400, {
            "__type": "RestApiServerException" if status >= 500 else "RestApiClientException",
            **told,
        }
