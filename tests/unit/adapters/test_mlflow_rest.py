"""How answers of an MLflow server, and of what is none, become errors."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from autotrader.adapters import mlflow_rest
from autotrader.adapters.mlflow_rest import AlreadyExists, MlflowRest
from autotrader.domain.errors import AutotraderError, ConfigurationError, NotFound, Rejected, Unreachable

Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_rest, "_PAUSES_SECONDS", (0.0, 0.0))


def answering(answer: Answer) -> MlflowRest:
    return MlflowRest("http://mlflow.test:5000/", httpx.MockTransport(answer))


def error(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"error_code": code, "message": "because"})


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (error(404, "RESOURCE_DOES_NOT_EXIST"), NotFound),
        (error(400, "RESOURCE_ALREADY_EXISTS"), AlreadyExists),
        (error(400, "INVALID_PARAMETER_VALUE"), Rejected),
        (error(403, "PERMISSION_DENIED"), Rejected),
        (error(500, "INTERNAL_ERROR"), Unreachable),
        (error(429, "REQUEST_LIMIT_EXCEEDED"), Unreachable),
        (error(503, "TEMPORARILY_UNAVAILABLE"), Unreachable),
        (httpx.Response(200, html="<html>a web site</html>"), Rejected),
        (httpx.Response(200, json=["no object"]), Rejected),
        (httpx.Response(404, html="<html></html>"), Rejected),
        (httpx.Response(502, html="<html>bad gateway</html>"), Unreachable),
    ],
)
def test_an_answer_becomes_the_error_that_says_what_to_do(
    response: httpx.Response, kind: type[AutotraderError]
) -> None:
    with pytest.raises(kind, match=r"http://mlflow\.test:5000") as caught:
        answering(lambda _: response).get("runs/get", run_id="1")
    assert type(caught.value) is kind


def test_a_server_that_is_busy_is_asked_again() -> None:
    answers = iter([error(503, "BUSY"), error(429, "BUSY"), httpx.Response(200, json={"run": 1})])
    assert answering(lambda _: next(answers)).get("runs/get") == {"run": 1}


def test_a_connection_that_was_refused_is_tried_again() -> None:
    tries = []

    def refuse(request: httpx.Request) -> httpx.Response:
        tries.append(request)
        if len(tries) < 3:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json={})

    answering(refuse).post("model-versions/create")
    assert len(tries) == 3


def test_a_change_that_may_have_been_made_is_not_sent_again() -> None:
    tries = []

    def hang(request: httpx.Request) -> httpx.Response:
        tries.append(request)
        raise httpx.ReadTimeout("no answer")

    with pytest.raises(Unreachable, match="ReadTimeout"):
        answering(hang).post("model-versions/create")
    assert len(tries) == 1


def test_a_server_that_accepts_and_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    usual_seconds = mlflow_rest.ANSWER_TIMEOUT_SECONDS
    monkeypatch.setattr(mlflow_rest, "ANSWER_TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        begin = time.monotonic()
        with pytest.raises(Unreachable, match="ReadTimeout"):
            MlflowRest(f"http://127.0.0.1:{server.getsockname()[1]}").get("runs/get")
    assert time.monotonic() - begin < usual_seconds


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "mlruns", "databricks", "", "http://"])
def test_a_uri_that_is_of_no_server_is_refused_with_the_variable(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="AUTOTRADER_MLFLOW__TRACKING_URI"):
        MlflowRest(uri)


def test_credentials_of_the_uri_are_sent_and_never_shown() -> None:
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return error(403, "PERMISSION_DENIED")

    rest = MlflowRest("http://user:hunter2@mlflow.test:5000", httpx.MockTransport(answer))
    with pytest.raises(Rejected) as caught:
        rest.get("runs/get")
    assert seen[0].startswith("Basic ")
    assert "hunter2" not in str(caught.value) + rest.uri


def test_a_search_goes_through_all_pages() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        token = request.url.params.get("page_token")
        pages = {None: {"runs": [1, 2], "next_page_token": "x"}, "x": {"next_page_token": "y"}}
        return httpx.Response(200, json=pages.get(token, {"runs": [3]}))

    assert list(answering(answer).pages("GET", "runs/search", "runs")) == [1, 2, 3]


def test_artefacts_that_the_server_does_not_serve_are_a_matter_of_its_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--serve-artifacts"):
        answering(lambda _: error(500, "X")).upload("s3://bucket/1/run/artifacts/model.onnx", b"")


def test_a_download_that_fails_says_why(tmp_path: Path) -> None:
    rest = answering(lambda _: error(404, "RESOURCE_DOES_NOT_EXIST"))
    with pytest.raises(NotFound):
        rest.download("mlflow-artifacts:/1/run/artifacts/model.onnx", tmp_path / "model.onnx")


def test_a_path_is_quoted_in_the_url(tmp_path: Path) -> None:
    paths = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path)
        return httpx.Response(200, json={})

    answering(answer).upload("mlflow-artifacts://host/1/run/artifacts/a b?.txt", b"x")
    assert paths == [b"/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts/a%20b%3F.txt"]
