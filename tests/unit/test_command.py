"""From argv to a typed call to an exit code."""

from __future__ import annotations

import enum
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.domain import errors
from autotrader.domain.errors import ExitCode
from autotrader.domain.instruments import Venue
from autotrader.ports.clock import WallClock

Captured = pytest.CaptureFixture[str]


class Colour(enum.StrEnum):
    BLUE = "blue"
    GREEN = "green"


@dataclass
class Report:
    rows: int
    share: float
    at: datetime
    colour: Colour


def everything(
    *,
    name: str,
    count: int = 3,
    share: float = 0.5,
    capital: Decimal | None = None,
    start: datetime | None = None,
    day: date | None = None,
    folder: Path | None = None,
    colour: Colour = Colour.BLUE,
    venues: tuple[Venue, ...] = (),
    dry_run: bool = False,
) -> Mapping[str, object]:
    """Take one option of every kind.

    It has a second paragraph.

    Parameters
    ----------
    name : str
        What it is called; 100 % of it.
    count : int
        How many,
        over two lines.
    """
    return dict(locals())


def run(verb: object, line: str) -> int:
    assert callable(verb)
    return command.run(verb, line.split())


def test_options_arrive_as_their_annotations_say(capsys: Captured) -> None:
    line = (
        "--name a --count 7 --share 0.25 --capital 1.10 --start 2024-02-01T01:00:00+01:00 --day 2024-02-01 "
        "--folder x/y --colour green --venues binance oanda --dry-run --json"
    )
    assert run(everything, line) == 0
    assert json.loads(capsys.readouterr().out) == {
        "name": "a",
        "count": 7,
        "share": 0.25,
        "capital": "1.10",
        "start": "2024-02-01T00:00:00+00:00",
        "day": "2024-02-01",
        "folder": "x/y",
        "colour": "green",
        "venues": ["binance", "oanda"],
        "dry_run": True,
    }


def test_what_is_left_out_has_its_default(capsys: Captured) -> None:
    assert run(everything, "--name a --no-dry-run --json") == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["count"], values["start"], values["venues"]) == (3, None, [])
    assert (values["colour"], values["dry_run"]) == ("blue", False)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "--name"),
        ("--name a --count many", "--count"),
        ("--name a --start yesterday", "such as 2024-02-01"),
        ("--name a --day 2024-02-30", "--day"),
        ("--name a --capital much", "--capital"),
        ("--name a --colour red", "{blue,green}"),
        ("--name a --venues binance kraken", "--venues"),
        ("--name a --unknown", "--unknown"),
        ("a", "--name"),
    ],
)
def test_a_mistake_in_the_use_exits_with_2_and_says_which(capsys: Captured, line: str, expected: str) -> None:
    with pytest.raises(SystemExit) as leaving:
        run(everything, line)
    assert leaving.value.code == ExitCode.USAGE
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.out == ""


def test_help_shows_the_docstring_each_option_and_the_exit_codes(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as leaving:
        run(everything, "--help")
    assert leaving.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in (
        "Take one option of every kind.",
        "It has a second paragraph.",
        "What it is called; 100 % of it.",
        "How many, over two lines.",
        "--dry-run, --no-dry-run",
        "{blue,green}",
        "4 refused by a safety rule",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (errors.ConfigurationError, 2),
        (errors.NotFound, 1),
        (errors.Refused, 4),
        (errors.Unreachable, 3),
        (errors.BadData, 1),
    ],
)
def test_an_error_of_ours_becomes_its_exit_code_and_one_line(
    capsys: Captured, kind: type[errors.AutotraderError], exit_code: int
) -> None:
    def verb() -> None:
        """Fail."""
        raise kind("expected x, was y: do z")

    assert run(verb, "") == exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"{kind.__name__}: expected x, was y: do z\n"
    assert run(verb, "--json") == exit_code
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"error": kind.__name__, "message": "expected x, was y: do z"}


def test_a_mistake_of_ours_is_not_hidden() -> None:
    def verb() -> None:
        """Fail."""
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(verb, "")


def test_an_interrupt_leaves_quietly(capsys: Captured) -> None:
    def verb() -> None:
        """Be interrupted."""
        raise KeyboardInterrupt

    assert run(verb, "") == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_result_carries_its_own_text_and_exit_code(capsys: Captured) -> None:
    def verb() -> command.Result:
        """Be unhealthy."""
        return command.Result({"healthy": False}, "it is unhealthy", ExitCode.FAILED)

    assert run(verb, "") == 1
    assert capsys.readouterr().out == "it is unhealthy\n"
    assert run(verb, "--json") == 1
    assert json.loads(capsys.readouterr().out) == {"healthy": False}


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (None, "done"),
        ("text", "text"),
        ({"rows": 3, "files": ["a"]}, 'rows   3\nfiles  ["a"]'),
        (["a", "b"], "a\nb"),
        (
            Report(3, 0.5, datetime(2024, 3, 1, tzinfo=UTC), Colour.BLUE),
            "rows    3\nshare   0.5\nat      2024-03-01T00:00:00+00:00\ncolour  blue",
        ),
    ],
)
def test_plain_data_is_printed_for_people(capsys: Captured, value: object, printed: str) -> None:
    def verb() -> object:
        """Return it."""
        return value

    assert run(verb, "") == 0
    assert capsys.readouterr().out == printed + "\n"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (float("nan"), None),
        (float("-inf"), None),
        (Colour.GREEN, "green"),
        (ExitCode.REFUSED, 4),
        (Decimal("1.10"), "1.10"),
        (Path("a/b"), "a/b"),
        (date(2024, 3, 1), "2024-03-01"),
        ((1, {"a": {2}}), [1, {"a": [2]}]),
        ({Venue.BINANCE: 1}, {"binance": 1}),
        (
            Report(1, float("nan"), datetime(2024, 3, 1, tzinfo=UTC), Colour.BLUE),
            {"rows": 1, "share": None, "at": "2024-03-01T00:00:00+00:00", "colour": "blue"},
        ),
    ],
)
def test_data_becomes_plain_json(value: object, plain: object) -> None:
    assert command.to_plain(value) == plain
    json.dumps(command.to_plain(value), allow_nan=False)


def test_numbers_of_numpy_stay_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    values = [numpy.int64(3), numpy.float32(0.5), numpy.float64("nan"), numpy.bool_(True)]
    assert command.to_plain(values) == [3, 0.5, None, True]


def test_ports_and_settings_are_filled_in_and_are_no_options(capsys: Captured) -> None:
    def verb(*, settings: Settings, wall_clock: WallClock) -> list[bool]:
        """Look."""
        return [isinstance(settings, Settings), isinstance(wall_clock, WallClock)]

    assert run(verb, "--json") == 0
    assert json.loads(capsys.readouterr().out) == [True, True]
    with pytest.raises(SystemExit):
        run(verb, "--settings x")


def test_a_wrong_setting_is_a_mistake_in_the_use(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def verb(*, settings: Settings) -> None:
        """Look."""

    monkeypatch.setenv("AUTOTRADER_MLFLOW__PORT", "none")
    assert run(verb, "") == 2
    assert "AUTOTRADER_MLFLOW__PORT" in capsys.readouterr().err


VERBS = {"check_connections": "autotrader.db.check_connections:check_connections"}


def test_a_noun_lists_its_verbs(capsys: Captured) -> None:
    assert command.run_noun("autotrader.db", VERBS, ["--help"]) == 0
    printed = capsys.readouterr().out
    assert "python -m autotrader.db VERB" in printed
    assert "check_connections" in printed
    assert command.run_noun("autotrader.db", VERBS, []) == 2


def test_a_noun_refuses_a_verb_that_it_does_not_have(capsys: Captured) -> None:
    assert command.run_noun("autotrader.db", VERBS, ["drop"]) == 2
    assert "expected one of check_connections, was 'drop'" in capsys.readouterr().err


def test_a_noun_runs_its_verb(capsys: Captured) -> None:
    assert command.run_noun("autotrader.db", VERBS, ["check_connections", "--json"]) == 0
    assert "databases" in json.loads(capsys.readouterr().out)


@pytest.mark.integration
def test_a_module_is_a_command_of_its_own_name(home: Path) -> None:
    line = [sys.executable, "-m", "autotrader.db.check_connections", "--help"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: python -m autotrader.db.check_connections")
