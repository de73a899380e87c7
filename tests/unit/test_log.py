"""Logs: one JSON object a line on stderr, without secrets."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import structlog

from autotrader.log import configure_logging, mask_text

pytestmark = pytest.mark.usefixtures("logging_as_before")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == "", "stdout is for results"
    return [json.loads(line) for line in captured.err.splitlines()]


def test_an_entry_is_one_json_object_with_who_when_and_what(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", form="json")
    structlog.get_logger("autotrader.data").info("bars_stored", rows=1440, share=0.5)
    (entry,) = lines(capsys)
    assert entry["message"] == "bars_stored"
    assert (entry["level"], entry["logger"], entry["rows"]) == ("info", "autotrader.data", 1440)
    assert entry["timestamp"].endswith("Z")


def test_the_standard_librarys_loggers_take_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", form="json")
    logging.getLogger("vendor").warning("lost %s of %d", "bars", 3, extra={"venue": "binance"})
    (entry,) = lines(capsys)
    assert (entry["message"], entry["logger"], entry["venue"]) == ("lost bars of 3", "vendor", "binance")


def test_context_that_was_bound_is_in_every_entry(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", form="json")
    with structlog.contextvars.bound_contextvars(dag_id="data_pipeline", run_id="r1"):
        structlog.get_logger().info("one")
        logging.getLogger("vendor").warning("two")
    assert [(e["dag_id"], e["run_id"]) for e in lines(capsys)] == [("data_pipeline", "r1")] * 2


def test_an_exception_is_one_line_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", form="json")
    try:
        raise ValueError("expected a bar")
    except ValueError:
        structlog.get_logger().exception("decode_failed")
    (entry,) = lines(capsys)
    assert "ValueError: expected a bar" in entry["exception"]


def test_the_level_is_respected_and_chatty_libraries_are_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="WARNING", form="json")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [e["message"] for e in lines(capsys)] == ["loud"]
    configure_logging(level="INFO", form="json")
    logging.getLogger("httpx").info("GET /")
    assert lines(capsys) == []


def test_configuring_twice_does_not_print_twice(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        configure_logging(level="INFO", form="json")
    structlog.get_logger().info("once")
    assert len(lines(capsys)) == 1


def test_auto_is_json_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", form="auto")
    structlog.get_logger().info("entry")
    assert lines(capsys)[0]["message"] == "entry"


def test_console_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", form="console")
    structlog.get_logger().info("bars_stored", rows=1440)
    printed = capsys.readouterr().err
    assert "bars_stored" in printed
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(printed)


@pytest.mark.parametrize("form", ["json", "console"])
def test_secrets_are_masked_wherever_they_stand(capsys: pytest.CaptureFixture[str], form: str) -> None:
    configure_logging(level="INFO", form=form)
    log = structlog.get_logger()
    log.info("request", api_key="hunter2", headers={"Authorization": "Bearer hunter2"})
    log.info("GET /order?symbol=BTCUSDT&signature=hunter2&recvWindow=1")
    log.info("connecting", url="postgresql://autotrader:hunter2@db/autotrader")
    log.info("nested", request=[{"body": {"token": "hunter2"}}, ("apiKey=hunter2",)])
    logging.getLogger("vendor").warning("sent %s", "Bearer hunter2")
    try:
        raise ValueError("no answer from https://user:hunter2@venue/")
    except ValueError:
        log.exception("request_failed")
    printed = capsys.readouterr().err
    assert "hunter2" not in printed
    for kept in ("symbol=BTCUSDT", "recvWindow=1", "postgresql://autotrader:", "@db/autotrader"):
        assert kept in printed


def test_masking_leaves_other_text_alone() -> None:
    text = "2024-03-01T00:00:00Z binance:BTCUSDT closed at 61234.5; see http://127.0.0.1:5000/#/models"
    assert mask_text(text) == text
