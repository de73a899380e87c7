"""Logs: one JSON object a line on stderr, without secrets."""

from __future__ import annotations

import json
import logging
import time
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


@pytest.mark.parametrize(
    "text",
    [
        'sent {"password": "hunter2"}',
        """sent {"db_password":"hunter2 \\"hunter2\\" it's hunter2", "rows": 3}""",
        "headers={'X-API-Key': 'hunter2', 'rows': 3}",
        '{"tokens": ["hunter2", "hunter2"], "secret": {"a": "hunter2"}, "Cookie" : "a=hunter2; b=hunter2"}',
        '{"Authorization": "Bearer hunter2"}',
        '{"password": "hunter2 hunter2 and cut off',
        '{"password": "hunter2\nhunter2"}',
        json.dumps({"body": json.dumps({"password": "hunter2 hunter2", "rows": 3})}),
        json.dumps({"body": json.dumps({"body": json.dumps({"token": 'a "hunter2" b'})})}),
    ],
)
def test_secrets_inside_json_text_are_masked(text: str) -> None:
    shown = mask_text(text)
    assert "hunter2" not in shown
    assert "***" in shown
    assert ("rows" in shown) == ("rows" in text)


def test_json_text_with_a_masked_secret_can_still_be_read() -> None:
    text = json.dumps({"token": 'a "quoted" one', "rows": 3, "secret": None})
    assert json.loads(mask_text(text)) == {"token": "***", "rows": 3, "secret": None}
    within = json.dumps({"body": text})
    assert json.loads(json.loads(mask_text(within))["body"]) == {"token": "***", "rows": 3, "secret": None}


@pytest.mark.parametrize(
    "hostile",
    ["\\" * 16_000 + ':"', '"' * 16_000 + ":", '"token' * 2_500 + ":", '{"password": "' + "\\" * 16_000],
)
def test_masking_a_hostile_text_takes_no_time(hostile: str) -> None:
    begun = time.thread_time()
    mask_text(hostile)
    assert time.thread_time() - begun < 0.5


def test_masking_leaves_other_text_alone() -> None:
    text = "2024-03-01T00:00:00Z binance:BTCUSDT closed at 61234.5; see http://127.0.0.1:5000/#/models"
    assert mask_text(text) == text


def test_newlines_and_control_characters_make_no_line_of_their_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(level="INFO", form="json")
    forged = 'end\n{"level": "critical", "message": "forged"}\r\u2028\x00\x1b[31m'
    structlog.get_logger().info(forged, **{"key\nof two": forged})
    logging.getLogger("vendor").warning(forged)
    one, two = lines(capsys)
    assert one["message"] == two["message"] == forged
    assert one["key\nof two"] == forged


def test_on_a_console_a_message_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", form="console")
    structlog.get_logger().info("end\n2026-01-01 [critical] forged")
    assert len(capsys.readouterr().err.splitlines()) == 1


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def test_whatever_is_given_the_entry_is_json_and_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", form="json")
    circle: dict[str, Any] = {}
    circle["self"] = circle
    structlog.get_logger("autotrader.tests").info(
        "odd",
        nan=float("nan"),
        infinite=[float("inf")],
        unprintable=Unprintable(),
        circle=circle,
        surrogate="\ud800",
        raw=b"\xff",
        keys={1: 2, None: 3},
        number=2**70,
        huge="x" * 1_000_000,
        timestamp="mine",
        level="mine",
    )
    logging.getLogger("vendor").warning("two of %d", "one", extra={"odd": Unprintable()})
    printed = capsys.readouterr().err
    assert "NaN" not in printed.replace('"nan"', "")
    one, two = (json.loads(line) for line in printed.splitlines())
    assert one["unprintable"] == "<Unprintable that cannot be shown: RuntimeError>"
    assert (one["level"], one["timestamp_"], one["nan"]) == ("info", "mine", "nan")
    assert len(one["huge"]) < 20_000
    assert one["number"] == 2**70
    assert "two of %d" in two["message"]


def test_an_entry_says_where_it_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", form="json")
    structlog.get_logger().info("ours")
    logging.getLogger("vendor").warning("theirs")
    for entry in lines(capsys):
        assert entry["location"].startswith("unit/test_log.py:")
        assert entry["location"].endswith(" test_an_entry_says_where_it_was_written")


def test_a_duration_is_told_as_performance(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO", form="json")
    structlog.get_logger().info("request", duration_ms=1.25)
    assert lines(capsys)[0]["performance"] == {"duration_ms": 1.25}


def fails(value: str) -> None:
    raise ValueError(f"expected a price, was {value}")


def fails_further_down(value: str) -> None:
    # The same error by another way.
    fails(value)


def fingerprint(capsys: pytest.CaptureFixture[str], call: Any, value: str) -> str:
    try:
        call(value)
    except ValueError as error:
        structlog.get_logger("a").error("failed", exc_info=error)
    (entry,) = lines(capsys)
    assert entry["error"]["type"] == "ValueError"
    found: str = entry["error"]["fingerprint"]
    return found


def test_one_error_has_one_fingerprint_whatever_its_values_and_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(level="INFO", form="json")
    source = "def fails(value):\n{}    raise ValueError(value)\n"
    moved = []
    for blank in ("", "\n" * 40):
        namespace: dict[str, Any] = {}
        exec(compile(source.format(blank), "/x/package/module.py", "exec"), namespace)  # noqa: S102
        moved.append(fingerprint(capsys, namespace["fails"], str(len(blank))))
    assert moved[0] == moved[1]
    assert fingerprint(capsys, fails, "1") == fingerprint(capsys, fails, "another")
    assert fingerprint(capsys, fails, "1") != fingerprint(capsys, fails_further_down, "1")


def test_errors_without_an_exception_are_grouped_by_what_they_say_but_for_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(level="INFO", form="json")
    log = structlog.get_logger("a")
    log.error("order 17 of 'BTCUSDT' failed after 0.25 s")
    log.error("order 3 of 'ETHUSDT' failed after 12 s")
    log.error("no room for order 3")
    logging.getLogger("v").error("lost %s", 1)
    logging.getLogger("v").error("lost %s", "another")
    one, two, other, three, four = (entry["error"]["fingerprint"] for entry in lines(capsys))
    assert one == two != other
    assert three == four


def test_a_reader_that_went_away_does_not_end_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, _: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None: ...

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr("sys.stderr", Gone())
    configure_logging(level="INFO", form="json")
    structlog.get_logger().info("to nobody")


def test_threads_do_not_mix_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    import threading

    configure_logging(level="INFO", form="json")
    log = structlog.get_logger()

    def write(number: int) -> None:
        for _ in range(50):
            log.info("entry", number=number, text="x" * 500)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(capsys)) == 200
