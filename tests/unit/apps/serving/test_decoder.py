"""What /predict accepts, and what it says of the rest."""

from __future__ import annotations

import json
import struct
from typing import Any

import msgspec
import numpy as np
import pytest

from autotrader.apps.serving.decoder import PredictDecoder
from autotrader.apps.serving.wire import Unacceptable, names_msgpack
from tests.models import FEATURES
from tests.serving import FEATURE_SET, TS, body, packed

DECODER = PredictDecoder(version="v1.2.3", feature_set=FEATURE_SET, feature_names=FEATURES, max_rows=4)


def refused(raw: bytes) -> Unacceptable:
    with pytest.raises(Unacceptable) as caught:
        DECODER.decode_json(raw)
    return caught.value


def test_a_request_becomes_an_array_in_the_models_order() -> None:
    request, features = DECODER.decode_json(json.dumps(body(2)).encode())
    assert request.replayed is False
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, np.array([[0, -0.2, 0.3], [0.1, -0.2, 0.3]], np.float32))


def test_features_may_come_in_any_order_when_they_are_named() -> None:
    names = [FEATURES[2], FEATURES[0], FEATURES[1]]
    _, features = DECODER.decode_json(
        json.dumps(body(rows=[[3, 1, 2]], ts=[TS], feature_names=names)).encode()
    )
    assert features.tolist() == [[1, 2, 3]]
    assert features.flags.c_contiguous


def test_whole_numbers_are_numbers() -> None:
    _, features = DECODER.decode_json(json.dumps(body(rows=[[1, 2, 3]], ts=[TS])).encode())
    assert features.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("changes", "error", "expected", "was"),
    [
        ({"request_id": ""}, "wrong request_id", "str of length >= 1", "another"),
        ({"instrument": "BTCUSDT"}, "wrong instrument", "venue:symbol", "BTCUSDT"),
        ({"instrument": "nowhere:BTCUSDT"}, "wrong instrument", "binance, ibkr, oanda", "nowhere"),
        ({"feature_set": "balanced-v2"}, "wrong feature_set", FEATURE_SET, "balanced-v2"),
        ({"version": "v9.9.9"}, "wrong version", "v1.2.3", "v9.9.9"),
        ({"ts": [], "rows": []}, "wrong rows", "at least one", "none"),
        ({"ts": [TS, TS]}, "wrong ts", "one for each of 1 rows", "2"),
        ({"ts": [TS // 1000]}, "wrong ts", "microseconds", str(TS // 1000)),
        ({"ts": [10**30]}, "wrong ts", "microseconds", "1000000"),
        ({"ts": [1.5]}, "wrong ts[0]", "int", "float"),
        ({"rows": [[1, 2]]}, "wrong rows[0]", "3 features of balanced-v1", "2"),
        ({"rows": [[1, None, 3]]}, "wrong rows[0][1]", "float", "null"),
        ({"rows": [[1, "2", 3]]}, "wrong rows[0][1]", "float", "str"),
        ({"rows": [[1, 2, 1e39]]}, "wrong rows[0][2] (log_return_20)", "a finite float32", "1e+39"),
        ({"rows": 3}, "wrong rows", "array", "int"),
        ({"feature_names": ["rsi_14", "atr_14", "odd"]}, "wrong feature_names", "each once", "unknown odd"),
        ({"feature_names": ["rsi_14", "atr_14"]}, "wrong feature_names", "3", "missing log_return_20"),
        ({"feature_names": [*FEATURES, "rsi_14"]}, "wrong feature_names", "each once", "twice rsi_14"),
        ({"surprise": 1}, "unknown field in body", "request_id", "surprise"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_what_was_expected(
    changes: dict[str, Any], error: str, expected: str, was: str
) -> None:
    found = refused(json.dumps(body(**changes)).encode())
    assert found.status == 422
    assert found.complaint.error == error
    assert expected in found.complaint.expected
    assert was in found.complaint.was


def test_a_missing_field_is_named() -> None:
    incomplete = body()
    del incomplete["instrument"]
    found = refused(json.dumps(incomplete).encode())
    assert (found.complaint.error, found.complaint.expected) == ("missing field in body", "instrument")


def test_too_many_rows_are_too_large_rather_than_wrong() -> None:
    found = refused(json.dumps(body(5)).encode())
    assert (found.status, found.complaint.expected, found.complaint.was) == (413, "at most 4", "5")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e39", "-1e39"])
def test_no_number_that_is_not_finite_gets_through(number: str) -> None:
    raw = json.dumps(body(rows=[[1, 2, 77]], ts=[TS])).replace("77", number)
    assert refused(raw.encode()).status == 422


@pytest.mark.parametrize("raw", [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"a":' * 2000, b"[" * 100_000])
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    assert refused(raw).status == 422


def test_a_body_with_as_many_rows_as_allowed_fits_whatever_its_numbers() -> None:
    longest = -1.2345678901234567e-300
    raw = json.dumps(body(4, rows=[[longest] * 3] * 4)).encode()
    assert len(raw) <= DECODER.max_bytes
    DECODER.decode_json(raw)


# ------------------------------------------------------------------------------- MessagePack


def refused_packed(content: dict[str, Any] | bytes) -> Unacceptable:
    raw = content if isinstance(content, bytes) else msgspec.msgpack.encode(content)
    with pytest.raises(Unacceptable) as caught:
        DECODER.decode_msgpack(raw)
    return caught.value


def test_both_forms_of_a_request_are_one_request() -> None:
    asked = body(3, replayed=True, version="v1.2.3")
    request, features = DECODER.decode_json(json.dumps(asked).encode())
    same, packed_features = DECODER.decode_msgpack(msgspec.msgpack.encode(packed(asked)))
    assert packed_features.dtype == np.float32
    np.testing.assert_array_equal(packed_features, features)
    for name in ("request_id", "instrument", "feature_set", "ts", "feature_names", "replayed", "version"):
        assert getattr(same, name) == getattr(request, name)


def test_packed_features_may_come_in_any_order_when_they_are_named() -> None:
    asked = body(rows=[[3, 1, 2]], feature_names=[FEATURES[2], FEATURES[0], FEATURES[1]])
    _, features = DECODER.decode_msgpack(msgspec.msgpack.encode(packed(asked)))
    assert features.tolist() == [[1, 2, 3]]
    assert features.flags.c_contiguous


@pytest.mark.parametrize(
    "changes",
    [
        {"request_id": ""},
        {"request_id": "x" * 129},
        {"instrument": "BTCUSDT"},
        {"instrument": 7},
        {"feature_set": "balanced-v2"},
        {"version": "v9.9.9"},
        {"ts": [], "rows": []},
        {"ts": [TS, TS]},
        {"ts": [TS // 1000]},
        {"ts": [1.5]},
        {"ts": [TS] * 5, "rows": [[1, 2, 3]] * 5},
        {"rows": None},
        {"feature_names": ["rsi_14", "atr_14", "odd"]},
        {"feature_names": ["rsi_14", "atr_14"]},
        {"feature_names": [*FEATURES, "rsi_14"]},
        {"surprise": 1},
    ],
)
def test_what_is_wrong_is_said_in_the_same_words_of_either_form(changes: dict[str, Any]) -> None:
    asked = body(**changes)
    of_json = refused(json.dumps(asked).encode())
    of_msgpack = refused_packed(packed(asked))
    assert of_msgpack.status == of_json.status
    if changes != {"rows": None}:  # an array there, an object here
        assert of_msgpack.complaint == of_json.complaint
    assert of_msgpack.complaint.error == of_json.complaint.error


@pytest.mark.parametrize(
    ("rows", "error", "expected", "was"),
    [
        ({"shape": [1, 2], "data": bytes(8)}, "wrong rows.shape[1]", "3 features of balanced-v1", "2"),
        ({"shape": [-1, -3], "data": bytes(12)}, "wrong rows", "at least one", "-1"),
        ({"shape": [1, 3], "data": bytes(11)}, "wrong rows.data", "12 bytes of 1 rows", "11"),
        ({"shape": [1, 3], "data": bytes(24)}, "wrong rows.data", "12 bytes of 1 rows", "24"),
        ({"shape": [1, 3, 1], "data": bytes(12)}, "wrong rows.shape", "array of length 2", "3"),
        ({"shape": [1, 2**40], "data": b""}, "wrong rows.shape[1]", "3 features", str(2**40)),
        ({"shape": [2**40, 3], "data": b""}, "too many rows", "at most 4", str(2**40)),
        ({"shape": [1, 3], "data": "twelve bytes"}, "wrong rows.data", "bytes", "str"),
        ({"shape": [1, 3]}, "missing field in rows", "data", "absent"),
        ({"shape": [1, 3], "data": bytes(12), "dtype": 1}, "unknown field in rows", "data", "dtype"),
        ([[1.0, 2.0, 3.0]], "wrong rows", "object", "array"),
    ],
)
def test_packed_rows_that_are_no_matrix_are_refused(rows: Any, error: str, expected: str, was: str) -> None:
    found = refused_packed({**body(), "rows": rows}).complaint
    assert found.error == error
    assert expected in found.expected
    assert was in found.was


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_no_packed_number_that_is_not_finite_gets_through(number: str) -> None:
    data = struct.pack("<6f", 1, 2, 3, 4, float(number), 6)
    found = refused_packed({**body(2), "rows": {"shape": [2, 3], "data": data}})
    assert found.status == 422
    assert found.complaint.error == f"wrong rows[1][1] ({FEATURES[1]})"
    assert (found.complaint.expected, found.complaint.was) == ("a finite float32", number)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"\xc0", b"\x90", b"\xc1", b"\x81\xa1a" * 2000, b"\x91" * 100_000, b"\x81\xa1\xff\x01"],
)
def test_what_is_no_map_of_messagepack_is_refused(raw: bytes) -> None:
    assert refused_packed(raw).status == 422


@pytest.mark.parametrize(
    ("header", "named"),
    [
        (b"application/vnd.msgpack", True),
        (b"Application/Vnd.MsgPack; charset=binary", True),
        (b"application/json, application/vnd.msgpack;q=0.9", True),
        (b"application/json", False),
        (b"application/vnd.msgpack-seq", False),
        (b"*/*", False),
        (b"", False),
    ],
)
def test_headers_name_messagepack_by_its_whole_name(header: bytes, named: bool) -> None:
    assert names_msgpack(header) is named
