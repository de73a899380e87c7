"""Credentials are checked against their services, and never shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from autotrader import command
from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.mlflow_credentials import MlflowCredential
from autotrader.config.settings import BinanceSettings, OandaSettings, Settings
from autotrader.config.verify_credentials import verify_credentials
from autotrader.connectors.binance_ws import credentials as binance
from autotrader.connectors.ibkr_connector.credentials import IbkrCredential
from autotrader.connectors.oanda.credentials import OandaCredential
from autotrader.db.credentials import DatabaseCredential
from autotrader.domain.errors import ExitCode
from autotrader.domain.instruments import Venue
from autotrader.ports.credentials import CredentialCheck, CredentialReport, CredentialState
from tests.fakes.binance_account import KEY, SECRET, BinanceAccount
from tests.fakes.http_server import Handler, listening
from tests.fakes.market_data import InMemorySource
from tests.fakes.oanda_server import OandaServer
from tests.services import free_port

State = CredentialState


class FixedCheck:
    """A check whose finding is known."""

    def __init__(self, name: str, state: CredentialState, reason: str = "as told") -> None:
        self.name = name
        self._report = CredentialReport(name, state, reason)

    async def verify(self) -> CredentialReport:
        return self._report


def run(*checks: CredentialCheck, settings: Settings | None = None) -> command.Result:
    return verify_credentials(settings=settings or Settings(), checks=lambda: checks)


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([], ExitCode.DONE),
        ([State.FINE, State.UNUSED], ExitCode.DONE),
        ([State.FINE, State.UNREACHABLE], ExitCode.UNREACHABLE),
        ([State.UNREACHABLE, State.MISSING], ExitCode.USAGE),
        ([State.MISSING, State.WRONG, State.UNREACHABLE], ExitCode.FAILED),
        ([State.WRONG, State.FORBIDDEN, State.FINE], ExitCode.REFUSED),
    ],
)
def test_the_exit_code_is_that_of_the_worst(states: list[CredentialState], code: ExitCode) -> None:
    assert run(*(FixedCheck(f"service{i}", s) for i, s in enumerate(states))).exit_code is code


def test_programs_get_one_object_with_the_worst_state() -> None:
    data = command.to_plain(
        run(FixedCheck("oanda", State.WRONG, "as told"), FixedCheck("ibkr", State.FINE)).data
    )
    assert data["worst"] == "wrong"
    assert data["credentials"][0] == {"name": "oanda", "state": "wrong", "reason": "as told"}


def test_every_service_has_a_line_with_its_state() -> None:
    result = run(FixedCheck("binance", State.WRONG), FixedCheck("database", State.FINE))
    assert [line.split()[:2] for line in result.text.splitlines()] == [
        ["binance", "wrong"],
        ["database", "fine"],
    ]


def test_a_secret_in_a_library_s_message_is_not_printed() -> None:
    settings = Settings(oanda=OandaSettings(token=SecretStr("s3cr3t-t0k3n")))
    leaky = FixedCheck("oanda", State.WRONG, "could not use s3cr3t-t0k3n at all")
    result = run(leaky, settings=settings)
    assert "s3cr3t-t0k3n" not in result.text + json.dumps(command.to_plain(result.data))
    assert "could not use *** at all" in result.text


# Binance


@pytest.fixture
def account() -> Iterator[BinanceAccount]:
    with BinanceAccount() as account:
        yield account


def binance_report(
    url: str, key: str | None = KEY, secret: str | None = SECRET, *, required: bool = False
) -> CredentialReport:
    settings = BinanceSettings(
        rest_url=url,
        api_key=None if key is None else SecretStr(key),
        api_secret=None if secret is None else SecretStr(secret),
    )
    return asyncio.run(binance.BinanceCredential(settings, required=required).verify())


def test_a_binance_key_that_cannot_withdraw_is_fine(account: BinanceAccount) -> None:
    report = binance_report(account.url)
    assert report.state is State.FINE
    assert "bound to addresses" in report.reason


@pytest.mark.parametrize("permissions", [{"enableWithdrawals": True}, {"enableReading": True}])
def test_a_binance_key_that_may_or_could_withdraw_is_forbidden(
    account: BinanceAccount, permissions: dict[str, bool]
) -> None:
    account.permit(permissions)
    assert binance_report(account.url).state is State.FORBIDDEN


def test_the_command_refuses_a_key_that_may_withdraw(account: BinanceAccount) -> None:
    account.permit({"enableWithdrawals": True})
    settings = Settings(
        binance=BinanceSettings(rest_url=account.url, api_key=SecretStr(KEY), api_secret=SecretStr(SECRET))
    )
    result = run(binance.BinanceCredential(settings.binance, required=False), settings=settings)
    assert result.exit_code == 4
    assert KEY not in result.text
    assert SECRET not in result.text


@pytest.mark.parametrize(("key", "secret"), [("another", SECRET), (KEY, "another")])
def test_a_binance_key_or_secret_that_is_refused_is_wrong(
    account: BinanceAccount, key: str, secret: str
) -> None:
    assert binance_report(account.url, key, secret).state is State.WRONG


def test_half_a_binance_key_is_named(account: BinanceAccount) -> None:
    report = binance_report(account.url, KEY, None)
    assert report.state is State.MISSING
    assert "AUTOTRADER_BINANCE__API_SECRET" in report.reason


@pytest.mark.parametrize(("required", "state"), [(False, State.UNUSED), (True, State.MISSING)])
def test_no_binance_key_is_missing_only_where_one_is_needed(required: bool, state: State) -> None:
    assert binance_report("http://127.0.0.1:1", None, None, required=required).state is state


def test_a_wrong_clock_is_not_called_a_wrong_key(account: BinanceAccount) -> None:
    account.lead(timedelta(minutes=1))
    report = binance_report(account.url)
    assert report.state is State.UNREACHABLE
    assert "clock" in report.reason


def test_a_binance_that_is_down_says_nothing_of_the_key(account: BinanceAccount) -> None:
    account.fail()
    assert binance_report(account.url).state is State.UNREACHABLE
    assert binance_report("http://127.0.0.1:1").state is State.UNREACHABLE


def test_only_a_test_net_may_keep_silent_about_withdrawals(
    account: BinanceAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.permit(None)
    assert binance_report(account.url).state is State.UNREACHABLE
    monkeypatch.setattr(binance, "TEST_NETS", {"127.0.0.1"})
    assert binance_report(account.url).state is State.FINE


# OANDA


@pytest.fixture
def server() -> Iterator[OandaServer]:
    with OandaServer({}) as server:
        yield server


def oanda_report(
    url: str, token: str | None, account: str | None = None, *, required: bool = True
) -> CredentialReport:
    settings = OandaSettings(rest_url=url, token=None if token is None else SecretStr(token), account=account)
    return asyncio.run(OandaCredential(settings, SystemWallClock(), required=required).verify())


def test_an_oanda_token_is_fine_wrong_missing_or_unused(server: OandaServer) -> None:
    assert oanda_report(server.url, server.token, server.account).state is State.FINE
    assert oanda_report(server.url, "another").state is State.WRONG
    assert oanda_report(server.url, None).state is State.MISSING
    assert oanda_report(server.url, None, required=False).state is State.UNUSED


def test_an_account_that_the_token_does_not_open_is_wrong(server: OandaServer) -> None:
    report = oanda_report(server.url, server.token, "101-001-0000000-001")
    assert report.state is State.WRONG
    assert "ACCOUNT" in report.reason


def test_an_absent_oanda_is_unreachable() -> None:
    assert oanda_report("http://127.0.0.1:1", "token").state is State.UNREACHABLE


# Interactive Brokers


class StaticClock:
    is_replay = True

    def now(self) -> datetime:
        return datetime(2024, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(("reachable", "state"), [(True, State.FINE), (False, State.UNREACHABLE)])
def test_a_gateway_is_fine_where_it_lets_us_in(reachable: bool, state: State) -> None:
    source = InMemorySource(Venue.IBKR, {}, StaticClock(), reachable=reachable)
    report = asyncio.run(IbkrCredential(lambda _: source, required=True).verify())
    assert report.state is state
    assert source.closed


def test_a_gateway_that_no_pipeline_uses_is_left_alone() -> None:
    def refuse(venue: Venue) -> InMemorySource:
        raise AssertionError("nobody should connect")

    assert asyncio.run(IbkrCredential(refuse, required=False).verify()).state is State.UNUSED


# Database


def database_report(url: str) -> CredentialReport:
    return asyncio.run(DatabaseCredential(url).verify())


def test_a_sqlite_file_is_fine_once_made_and_is_not_made_by_the_check(tmp_path: Path) -> None:
    file = tmp_path / "autotrader.db"
    assert database_report(f"sqlite:///{file}").state is State.UNUSED
    assert not file.exists()
    file.touch()
    assert database_report(f"sqlite:///{file}").state is State.FINE


def test_an_absent_postgres_is_unreachable_and_its_password_hidden() -> None:
    report = database_report("postgresql://trader:pass-w0rd@127.0.0.1:1/autotrader")
    assert report.state is State.UNREACHABLE
    assert "pass-w0rd" not in report.reason


def test_a_database_of_an_unknown_kind_is_wrong() -> None:
    assert database_report("mysql://u:p@127.0.0.1/x").state is State.WRONG


# MLflow


class _Mlflow(Handler):
    status = 200

    def respond(self) -> None:
        self.answer_json(self.status, {"experiments": [], "error_code": "X", "message": "told to"})


@pytest.mark.parametrize(("status", "state"), [(200, State.FINE), (401, State.WRONG), (403, State.WRONG)])
def test_an_mlflow_server_is_fine_or_wrong_as_it_answers(status: int, state: State) -> None:
    handler = type("Handler", (_Mlflow,), {"status": status})
    with listening(handler) as url:
        report = asyncio.run(MlflowCredential(url).verify())
    assert report.state is state


def test_an_absent_mlflow_server_is_unreachable() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert asyncio.run(MlflowCredential(url).verify()).state is State.UNREACHABLE


def test_the_fake_checks_keep_the_port() -> None:
    assert isinstance(FixedCheck("x", State.FINE), CredentialCheck)
