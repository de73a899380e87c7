"""Does OANDA accept the token, and does the token open the account?"""

from __future__ import annotations

from autotrader.config.settings import OandaSettings
from autotrader.connectors.oanda.client import OandaClient
from autotrader.domain.errors import DependencyError, Unreachable
from autotrader.ports.clock import WallClock
from autotrader.ports.credentials import CredentialReport, CredentialState


class OandaCredential:
    """Checks the API token by listing its accounts.

    Parameters
    ----------
    settings : OandaSettings
    wall_clock : WallClock
    required : bool
        True where the pipelines use the venue: OANDA gives no candle without a token.
    """

    name = "oanda"

    def __init__(self, settings: OandaSettings, wall_clock: WallClock, *, required: bool) -> None:
        self._settings = settings
        self._wall_clock = wall_clock
        self._required = required

    async def verify(self) -> CredentialReport:
        """List the accounts; where one is configured, it must be among them."""
        if self._settings.token is None:
            state = CredentialState.MISSING if self._required else CredentialState.UNUSED
            return self._report(state, "AUTOTRADER_OANDA__TOKEN is empty")
        client = OandaClient(self._settings, self._wall_clock)
        try:
            answer = (await client.get("/v3/accounts")).json()
            accounts = {account["id"] for account in answer["accounts"]}
        except Unreachable as error:
            return self._report(CredentialState.UNREACHABLE, str(error))
        except DependencyError as error:
            return self._report(CredentialState.WRONG, str(error))
        except (ValueError, KeyError, TypeError):
            return self._report(
                CredentialState.UNREACHABLE, f"{self._settings.rest_url} answered, but not as OANDA does"
            )
        finally:
            await client.aclose()
        account = self._settings.account
        if account is not None and account not in accounts:
            return self._report(
                CredentialState.WRONG,
                "the token is accepted, but AUTOTRADER_OANDA__ACCOUNT is none of its accounts",
            )
        return self._report(
            CredentialState.FINE, f"the token is accepted and opens {len(accounts)} account(s)"
        )

    def _report(self, state: CredentialState, reason: str) -> CredentialReport:
        return CredentialReport(self.name, state, reason)
