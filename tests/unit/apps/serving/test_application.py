"""The service's answers, without a network."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from autotrader.apps.serving import segments
from autotrader.apps.serving.application import BATCH_ROWS, PredictionApplication, ServingStatus
from autotrader.apps.serving.exchange import Answer, Exchange, Work
from autotrader.apps.serving.prediction_log import PredictionLog
from autotrader.apps.serving.release import LoadedRelease, load_release
from autotrader.apps.serving.segments import SegmentHeader
from autotrader.apps.serving.threads import Done
from autotrader.apps.serving.wire import MSGPACK
from autotrader.domain.rollout import Color
from tests.models import FEATURES
from tests.serving import TOKEN, body, make_release, packed

AUTHORIZATION = {b"authorization": f"Bearer {TOKEN}".encode()}


class Served:
    def __init__(self, folder: Path) -> None:
        self.application = PredictionApplication(color=Color.BLUE, token=TOKEN, in_progress=lambda: 3)
        self.loaded: LoadedRelease = load_release(make_release(folder / "release"))
        header = SegmentHeader("blue", "m", "v1.2.3", "ab", "balanced-v1", "1m", FEATURES)
        self.log = PredictionLog(folder / "log", header)
        self.application.serve(self.loaded, self.log, max_rows=2 * BATCH_ROWS)

    def ask(
        self,
        content: object = None,
        *,
        method: bytes = b"POST",
        path: bytes = b"/predict",
        headers: dict[bytes, bytes] = AUTHORIZATION,
    ) -> tuple[int, Any, Answer]:
        exchange = Exchange()
        exchange.method, exchange.path, exchange.headers = method, path, headers
        exchange.body = content if isinstance(content, bytes) else json.dumps(content).encode()
        given = self.application.admit(exchange) or self.application.respond(exchange)
        answer = _worked(given) if isinstance(given, Work) else given
        self.was_long = isinstance(given, Work)
        self.application.observe(exchange, answer.status, 0.001)
        is_json = answer.content_type == b"application/json"
        content = json.loads(answer.body) if is_json else answer.body.decode(errors="replace")
        return answer.status, content, answer

    def logged(self) -> list[segments.Record]:
        content = self.log.path.read_bytes()
        header, begin = segments.read_header(content)
        return segments.scan(content, header, begin).records


def _worked(work: Work) -> Answer:
    try:
        done = Done(work.run())
    except Exception as error:  # noqa: BLE001 - as the threads do
        done = Done(error=error)
    return work.finish(done)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.log.close()


def test_a_prediction_says_who_made_it_and_is_in_the_log(served: Served) -> None:
    status, answer, _ = served.ask(body(3, replayed=True))
    assert status == 200
    assert {k: v for k, v in answer.items() if k != "probabilities"} == {
        "request_id": "request-1",
        "model": "autotrader-strategy",
        "version": "v1.2.3",
        "color": "blue",
        "feature_set": "balanced-v1",
    }
    (record,) = served.logged()
    assert record.request_id == "request-1"
    assert record.replayed
    np.testing.assert_array_equal(record.probabilities, np.array(answer["probabilities"], np.float32))
    np.testing.assert_array_equal(record.features, np.array(body(3)["rows"], np.float32))
    np.testing.assert_allclose(
        served.loaded.model.probabilities(record.features), answer["probabilities"], atol=1e-7
    )


def test_a_program_may_ask_and_be_answered_in_messagepack(served: Served) -> None:
    asked = body(3)
    spoken, packed_body = served.ask(asked)[1], msgspec.msgpack.encode(packed(asked))
    headers = {**AUTHORIZATION, b"content-type": MSGPACK, b"accept": MSGPACK}
    _, _, raw = served.ask(packed_body, headers=headers)
    assert raw.content_type == MSGPACK
    answer = msgspec.msgpack.decode(raw.body)
    matrix = answer.pop("probabilities")
    assert matrix["shape"] == [3, 3]
    probabilities = np.frombuffer(matrix["data"], "<f4").reshape(3, 3)
    np.testing.assert_array_equal(probabilities, np.array(spoken.pop("probabilities"), np.float32))
    assert answer == spoken
    first, second = served.logged()
    assert (first.request_id, first.instrument) == (second.request_id, second.instrument)
    for name in ("ts", "features", "probabilities"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_the_form_of_the_answer_is_the_one_that_was_asked_for(served: Served) -> None:
    packed_body = msgspec.msgpack.encode(packed(body()))
    is_packed = {b"content-type": MSGPACK}
    assert served.ask(packed_body, headers={**AUTHORIZATION, **is_packed})[1]["request_id"] == "request-1"
    assert served.ask(body(), headers={**AUTHORIZATION, b"accept": MSGPACK})[2].content_type == MSGPACK
    assert served.ask(packed_body)[0] == 422, "what does not say that it is MessagePack is read as JSON"
    assert len(served.logged()) == 2


def test_what_is_wrong_with_a_packed_request_is_said_in_json(served: Served) -> None:
    wrong = msgspec.msgpack.encode(packed(body(rows=[[0.1, float("nan"), 0.3]])))
    headers = {**AUTHORIZATION, b"content-type": MSGPACK, b"accept": MSGPACK}
    status, answer, _ = served.ask(wrong, headers=headers)
    assert (status, answer["expected"], answer["was"]) == (422, "a finite float32", "nan")
    assert served.logged() == []


@pytest.mark.parametrize(
    "authorization",
    [b"", b"Bearer ", b"Bearer wrong", TOKEN.encode(), f"Basic {TOKEN}".encode(), b"Bearer \xff\xfe"],
)
def test_without_the_token_nothing_is_answered(served: Served, authorization: bytes) -> None:
    status, answer, raw = served.ask(body(), headers={b"authorization": authorization})
    assert status == 401
    assert answer["expected"] == "Authorization: Bearer TOKEN"
    assert b"www-authenticate: Bearer" in raw.headers
    assert served.ask(body(), headers={})[0] == 401
    assert served.logged() == []
    assert TOKEN not in json.dumps(answer)


def test_a_request_for_the_other_color_is_misdirected(served: Served) -> None:
    status, answer, _ = served.ask(body(), headers={**AUTHORIZATION, b"x-autotrader-color": b"green"})
    assert (status, answer["expected"], answer["was"]) == (421, "blue", "green")
    assert served.ask(body(), headers={**AUTHORIZATION, b"x-autotrader-color": b"blue"})[0] == 200


def test_unknown_paths_and_methods_are_told_what_there_is(served: Served) -> None:
    assert served.ask(path=b"/else", method=b"GET")[0] == 404
    status, answer, raw = served.ask(method=b"GET")
    assert (status, answer["expected"], answer["was"], raw.headers) == (
        405,
        "POST",
        "GET",
        b"allow: POST\r\n",
    )
    assert served.ask(path=b"/health")[0] == 405


def test_a_wrong_request_is_not_logged(served: Served) -> None:
    assert served.ask(body(instrument="BTCUSDT"))[0] == 422
    assert served.ask(body(2 * BATCH_ROWS + 1))[0] == 413
    assert served.logged() == []


def test_before_the_model_is_there_the_answer_is_to_come_again() -> None:
    application = PredictionApplication(color=Color.GREEN, token=TOKEN, in_progress=lambda: 0)
    exchange = Exchange()
    exchange.method, exchange.path, exchange.headers = b"POST", b"/predict", AUTHORIZATION
    answer = application.admit(exchange)
    assert answer is not None
    assert (answer.status, answer.headers) == (503, b"retry-after: 1\r\n")
    health = application.health()
    assert (health["status"], health["live"], health["ready"]) == ("starting", True, False)


class Broken:
    """A model that fails, or answers garbage."""

    feature_names = FEATURES

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def predict(self, features: Any) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return np.array(answer, np.float32)


def test_many_rows_are_predicted_beside_the_others_and_logged_before_they_are_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, answer, _ = served.ask(body(BATCH_ROWS))
    assert status == 200
    assert served.was_long
    assert len(answer["probabilities"]) == BATCH_ROWS
    (record,) = served.logged()
    np.testing.assert_array_equal(record.probabilities, np.array(answer["probabilities"], np.float32))
    monkeypatch.setitem(served.loaded.__dict__, "model", Broken(RuntimeError("of the model")))
    status, answer, _ = served.ask(body(BATCH_ROWS))
    assert (status, answer["was"]) == (500, "a failure of the model")
    assert len(served.logged()) == 1


def test_a_model_that_fails_costs_one_request_and_is_counted(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    nan = float("nan")
    garbage = [
        RuntimeError("a trace that nobody outside shall see"),
        [[nan, nan, nan]],
        [[0.5, 0.5, 0.5]],
        [[-0.5, 0.5, 1.0]],
        [[1, 0, 0], [nan, 0, 0]],
    ]
    good = served.loaded.model
    monkeypatch.setitem(served.loaded.__dict__, "model", Broken(*garbage))
    for number in range(len(garbage)):
        status, answer, _ = served.ask(body(1 if number < 4 else 2))
        assert status == 500
        assert answer["id"]
        assert "trace" not in json.dumps(answer)
    monkeypatch.setitem(served.loaded.__dict__, "model", good)
    assert served.ask(body())[0] == 200
    assert len(served.logged()) == 1
    page = served.ask(path=b"/metrics", method=b"GET")[1]
    assert "model_errors_total 5.0" in page
    assert 'http_requests_total{endpoint="/predict",method="POST",status="500"} 5.0' in page


def test_what_cannot_be_logged_is_not_answered_and_health_says_why(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        status, answer, raw = served.ask(body())
    assert (status, raw.headers) == (503, b"retry-after: 1\r\n")
    assert "disk is full" in answer["was"]
    assert "probabilities" not in answer
    status, health, _ = served.ask(path=b"/health", method=b"GET")
    assert (status, health["ready"], health["live"]) == (503, False, True)
    assert "disk is full" in health["reason"]
    served.log.look_after()
    status, health, _ = served.ask(path=b"/health", method=b"GET")
    assert (status, health["ready"], health["reason"]) == (200, True, "")


def test_health_says_what_is_served_and_whether_it_drains(served: Served) -> None:
    status, health, _ = served.ask(path=b"/health", method=b"GET", headers={})
    assert status == 200
    assert health["version"] == "v1.2.3"
    assert health["onnx_sha256"] == served.loaded.release.onnx_sha256
    assert health["memory_bytes"] > 10_000_000
    assert health["requests_under_way"] == 3
    served.application.status = ServingStatus.DRAINING
    status, health, _ = served.ask(path=b"/health", method=b"GET")
    assert (status, health["status"], health["ready"]) == (503, "draining", False)


def test_metrics_count_what_was_answered_and_how_sure_the_model_was(served: Served) -> None:
    confidence = []
    for rows in (1, 4):
        answer = served.ask(body(rows))[1]
        confidence += [max(p) for p in answer["probabilities"]]
    for number in range(50):
        served.ask(path=f"/made-up-{number}".encode(), method=b"GET")
        served.ask(path=b"/predict", method=f"VERB{number}".encode())
    page = served.ask(path=b"/metrics", method=b"GET")[1]
    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    assert float(values["model_prediction_confidence_count"]) == 5
    assert float(values["model_prediction_confidence_sum"]) == pytest.approx(sum(confidence), rel=1e-5)
    below = sum(c <= 0.7 for c in confidence)
    assert float(values['model_prediction_confidence_bucket{le="0.7"}']) == below
    assert float(values["predictions_total"]) == 5
    assert values['http_requests_total{endpoint="other",method="GET",status="404"}'] == "50.0"
    assert values['http_requests_total{endpoint="/predict",method="other",status="405"}'] == "50.0"
    assert "made-up" not in page
    assert 'model_info{color="blue",feature_set="balanced-v1",model="autotrader-strategy"' in page
    assert values["http_requests_in_progress"] == "3.0"
    assert float(values["prediction_log_bytes_total"]) == served.log.written_bytes > 0
    assert float(values["process_resident_memory_bytes"]) > 0
