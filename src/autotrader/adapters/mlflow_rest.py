"""MLflow's REST API over HTTP.

Not MLflow's own client: importing that takes 4 s and 200 MB in each command and task, its time-outs
and retries are environment variables of the whole process, and all that is needed here is a dozen
documented calls.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from autotrader.domain.errors import ConfigurationError, NotFound, Rejected, Unreachable

# Together they notice a server that is gone, or hangs, within seconds.
CONNECT_TIMEOUT_SECONDS = 2.0
ANSWER_TIMEOUT_SECONDS = 10.0
FILE_TIMEOUT_SECONDS = 60.0
_PAUSES_SECONDS = (0.2, 0.6)  # between tries

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class AlreadyExists(Rejected):
    """MLflow has a thing of that name already."""


class Collided(Rejected):
    """MLflow's database undid the request: another process inserted the same at the same moment."""


class MlflowRest:
    """One MLflow server.

    Parameters
    ----------
    uri : str
        `http://host:port`; user and password may be part of it.
    transport : httpx.BaseTransport or None
        How requests travel; None is the network.

    Raises
    ------
    ConfigurationError
        If the URI is not of a server.
    """

    def __init__(self, uri: str, transport: httpx.BaseTransport | None = None) -> None:
        parts = urlsplit(uri)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                "AUTOTRADER_MLFLOW__TRACKING_URI: expected http://host:port of an MLflow server, "
                f"was a URI of {parts.scheme or 'no'} scheme"
            )
        self.uri = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        self._client = httpx.Client(
            base_url=uri.rstrip("/"),
            timeout=httpx.Timeout(ANSWER_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
            transport=transport,
            verify=parts.scheme == "https",  # reading the certificates takes longer than all the rest
            trust_env=parts.hostname not in _LOOPBACK,  # no proxy reaches this machine's loopback
        )

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """Ask `api/2.0/mlflow/<path>`."""
        return self._json("GET", path, params={k: v for k, v in query.items() if v is not None})

    def post(self, path: str, **body: object) -> dict[str, Any]:
        """Change something by `api/2.0/mlflow/<path>`."""
        return self._json("POST", path, json=body)

    def delete(self, path: str, **body: object) -> dict[str, Any]:
        return self._json("DELETE", path, json=body)

    def pages(self, method: str, path: str, items: str, **request: object) -> Iterator[dict[str, Any]]:
        """All items of a search, page by page."""
        token: str | None = None
        while True:
            paged = request | ({"page_token": token} if token else {})
            answer = self.get(path, **paged) if method == "GET" else self.post(path, **paged)
            yield from answer.get(items, [])
            token = answer.get("next_page_token")
            if not token:
                return

    def upload(self, artifact_uri: str, content: bytes) -> None:
        """Store a file of a run's artefacts, replacing one that is there."""
        self._send("PUT", self._artifact_url(artifact_uri), content=content, timeout=FILE_TIMEOUT_SECONDS)

    def download(self, artifact_uri: str, target: Path) -> str:
        """Copy a file of a run's artefacts; returns the SHA-256 of what arrived, in hex."""
        digest = hashlib.sha256()
        url = self._artifact_url(artifact_uri)
        with self._outages("GET", url):
            response = self._client.send(
                self._client.build_request("GET", url, timeout=FILE_TIMEOUT_SECONDS), stream=True
            )
            with contextlib.closing(response), target.open("wb") as file:
                if not response.is_success:
                    response.read()
                    self._check(response)
                for chunk in response.iter_bytes():
                    digest.update(chunk)
                    file.write(chunk)
        return digest.hexdigest()

    def _artifact_url(self, artifact_uri: str) -> str:
        # `mlflow-artifacts:/1/...` or `mlflow-artifacts://host:port/1/...`: kept by the server itself
        match = re.fullmatch(r"mlflow-artifacts:(?://[^/]*)?/(.+)", artifact_uri)
        if not match:
            raise ConfigurationError(
                f"expected the MLflow server at {self.uri} to serve artefacts itself, was a run that keeps "
                f"them at {artifact_uri}: start it with --serve-artifacts and --artifacts-destination"
            )
        return f"/api/2.0/mlflow-artifacts/artifacts/{quote(match.group(1))}"

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = self._send(method, f"/api/2.0/mlflow/{path}", **options)
        answer: dict[str, Any] = response.json()
        return answer

    def _send(self, method: str, url: str, **options: Any) -> httpx.Response:
        with self._outages(method, url):
            for pause in (*_PAUSES_SECONDS, None):
                try:
                    response = self._client.request(method, url, **options)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    # Only what certainly was not carried out is tried again.
                    if pause is None:
                        raise
                else:
                    if response.status_code not in (429, 503) or pause is None:
                        break
                time.sleep(pause)
        self._check(response)
        return response

    @contextlib.contextmanager
    def _outages(self, method: str, url: str) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise Unreachable(
                f"expected MLflow at {self.uri} to answer {method} {url}, was {type(error).__name__}: {error}"
            ) from error

    def _check(self, response: httpx.Response) -> None:
        asked = f"{response.request.method} {response.request.url.path}"
        try:
            body = response.json() if response.content else {}
        except ValueError:
            body = None
        if response.is_success and isinstance(body, dict):
            return
        if not isinstance(body, dict):
            what = f"HTTP {response.status_code} with {response.headers.get('content-type', 'no type')}"
            kind = Unreachable if response.status_code >= 500 else Rejected
            raise kind(f"expected MLflow's REST API at {self.uri} to answer {asked}, was {what}")
        code = str(body.get("error_code", response.status_code))
        text = f"MLflow at {self.uri} refused {asked}: {code}: {body.get('message', '')}"
        match code:
            case "RESOURCE_DOES_NOT_EXIST" | "404":
                raise NotFound(text)
            case "RESOURCE_ALREADY_EXISTS":
                raise AlreadyExists(text)
            # MLflow passes on what its database said, SQLite's words or PostgreSQL's.
            case "BAD_REQUEST" if "IntegrityError" in text or "UniqueViolation" in text:
                raise Collided(text)
        if response.status_code >= 500 or response.status_code == 429:
            raise Unreachable(text)
        raise Rejected(text)
