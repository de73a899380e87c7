"""Does Binance accept the API key, and may the key take money out?"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import aiohttp
from binance.async_client import AsyncClient
from binance.exceptions import BinanceAPIException, BinanceRequestException

from autotrader.config.settings import BinanceSettings
from autotrader.ports.credentials import CredentialReport, CredentialState

# They have accounts, but nothing under /sapi, where a key's permissions are asked for.
TEST_NETS = {"testnet.binance.vision"}
TIMEOUT_SECONDS = 10.0
RECEIVE_WINDOW_MS = 3000

# https://developers.binance.com/docs/binance-spot-api-docs/errors
_CLOCK_DIFFERS = -1021
_REFUSED = {
    -1022: "the signature",
    -2014: "the key's form",
    -2015: "the key, this address or its permissions",
}
_NOT_FOUND = 404


class BinanceCredential:
    """Checks an API key by reading the account and the key's own permissions.

    Parameters
    ----------
    settings : BinanceSettings
    required : bool
        False: without a key, bars can still be read, and nothing else is asked for.
    """

    name = "binance"

    def __init__(self, settings: BinanceSettings, *, required: bool) -> None:
        self._settings = settings
        self._required = required

    async def verify(self) -> CredentialReport:
        """Read the account and the permissions; a key that may withdraw is forbidden."""
        key, secret = self._settings.api_key, self._settings.api_secret
        if key is None and secret is None:
            return self._absent()
        if key is None or secret is None:
            lacking = "API_KEY" if key is None else "API_SECRET"
            return self._report(
                CredentialState.MISSING, f"AUTOTRADER_BINANCE__{lacking}: expected a value, was empty"
            )
        client = _client(self._settings.rest_url, key.get_secret_value(), secret.get_secret_value())
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await client.get_account()
                return await self._judge(client)
        except BinanceAPIException as error:
            return self._refusal(error)
        except (TimeoutError, OSError, aiohttp.ClientError, BinanceRequestException) as error:
            reason = type(error).__name__
            return self._report(CredentialState.UNREACHABLE, f"{self._settings.rest_url}: {reason}")
        finally:
            await client.close_connection()

    @property
    def _host(self) -> str | None:
        return urlsplit(self._settings.rest_url).hostname

    def _absent(self) -> CredentialReport:
        if self._required:
            return self._report(
                CredentialState.MISSING,
                "expected AUTOTRADER_BINANCE__API_KEY and __API_SECRET, were empty",
            )
        return self._report(CredentialState.UNUSED, "no key is set; bars need none")

    async def _judge(self, client: AsyncClient) -> CredentialReport:
        try:
            permissions = await client.get_account_api_permissions()
        except BinanceAPIException as error:
            if error.status_code != _NOT_FOUND or self._host not in TEST_NETS:
                raise
            return self._report(
                CredentialState.FINE, "the test net accepts the key; there is no money to withdraw"
            )
        # Only a plain no is a no: an answer without the field proves nothing.
        if permissions.get("enableWithdrawals") is not False:
            return self._report(
                CredentialState.FORBIDDEN,
                "expected a key that cannot withdraw, but it may, or the venue does not deny it: "
                "switch withdrawals off, or make a new key",
            )
        address = "bound to addresses" if permissions.get("ipRestrict") else "usable from any address"
        return self._report(CredentialState.FINE, f"the key is accepted, cannot withdraw, and is {address}")

    def _refusal(self, error: BinanceAPIException) -> CredentialReport:
        if error.code in _REFUSED:
            return self._report(CredentialState.WRONG, f"refused {_REFUSED[error.code]} (code {error.code})")
        if error.code == _CLOCK_DIFFERS:
            return self._report(
                CredentialState.UNREACHABLE,
                "this machine's clock differs from the venue's by more than a request is valid for: set it",
            )
        return self._report(
            CredentialState.UNREACHABLE,
            f"{self._settings.rest_url} answered HTTP {error.status_code}, code {error.code}",
        )

    def _report(self, state: CredentialState, reason: str) -> CredentialReport:
        return CredentialReport(self.name, state, reason)


def _client(base_url: str, key: str, secret: str) -> AsyncClient:
    """A client of this host; the library takes its URLs from the class alone."""
    host = base_url.rstrip("/")
    urls = {"API_URL": f"{host}/api", "MARGIN_API_URL": f"{host}/sapi"}
    window = {"REQUEST_RECVWINDOW": RECEIVE_WINDOW_MS}  # the library overwrites what a request is given
    return type("Client", (AsyncClient,), {**urls, **window})(key, secret)
