"""What the venue tells of our orders as it happens, over its WebSocket API.

Listen keys, and the streams that they opened, are retired: a signed request on the connection itself
subscribes it. python-binance does so, too, but after it has connected anew it does not subscribe
again, and is silent from then on; so each connection here is new, and greeted.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import AsyncGenerator

import msgspec
import structlog

from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws.account_client import AccountClient
from autotrader.connectors.binance_ws.account_messages import StreamEnded, decode_updates
from autotrader.connectors.binance_ws.failures import ClockDiffers, ErrorBody, failure_of
from autotrader.connectors.binance_ws.sockets import Connection, RawSocket, connections
from autotrader.connectors.resilience import RetryPolicy
from autotrader.domain.errors import BadData, Unreachable
from autotrader.domain.instruments import Venue
from autotrader.ports.broker import Update

# For as long as the broker is open: who trades must hear, whatever became of the venue meanwhile.
FOREVER = RetryPolicy(attempts=sys.maxsize)
LASTING_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class _Answer(msgspec.Struct):
    id: str | None = None
    status: int = 200
    error: ErrorBody | None = None


class AccountStream:
    """Fills and states of one account.

    Parameters
    ----------
    client : AccountClient
        Signs the subscriptions; the caller closes it.
    settings : BinanceSettings
    account : str
        Our name of it.
    retry : RetryPolicy

    Attributes
    ----------
    gaps : int
        How often something may not have come: connections after the first, once they are
        subscribed, and messages that could not be read.
    """

    def __init__(
        self,
        client: AccountClient,
        settings: BinanceSettings,
        account: str,
        *,
        retry: RetryPolicy = FOREVER,
    ) -> None:
        self._client, self._account, self._retry = client, account, retry
        self._url = settings.account_stream_url
        self._made = 0
        self.gaps = 0

    async def updates(self) -> AsyncGenerator[Update]:
        """Updates as they come, without end.

        Raises
        ------
        Rejected
            If the venue does not take our key.
        Unreachable
            When no connection could be made in as many attempts as the policy allows.
        """
        made = connections(self._url, retry=self._retry, silence_seconds=None, greet=self._subscribe)
        async with contextlib.aclosing(made):
            async for connection in made:
                async with contextlib.aclosing(self._heard(connection)) as heard:
                    async for update in heard:
                        yield update

    async def _heard(self, connection: Connection) -> AsyncGenerator[Update]:
        begun = time.monotonic()
        async with contextlib.aclosing(connection.messages()) as messages:
            async for message in messages:
                try:
                    updates = decode_updates(message, self._account)
                except StreamEnded as ended:
                    _log.warning("stream is made anew", venue=Venue.BINANCE.value, reason=str(ended))
                    return
                except BadData as failure:
                    _log.warning("message is passed over", venue=Venue.BINANCE.value, failure=str(failure))
                    self.gaps += 1
                    continue
                connection.was_useful = True
                for update in updates:
                    yield update
        # A quiet account is no reason to wait longer and longer before the next connection.
        connection.was_useful |= time.monotonic() - begun >= LASTING_SECONDS

    async def _subscribe(self, socket: RawSocket) -> None:
        id_, text = await self._client.subscription()
        await socket.send(text)
        message = await socket.next()
        if not isinstance(message, bytes):
            raise Unreachable(f"expected a subscription to the account, was {message}: try again later")
        try:
            answer = msgspec.json.decode(message, type=_Answer)
        except msgspec.DecodeError as failure:
            raise Unreachable(
                f"expected an answer to the subscription, was {message[:80]!r}: {failure}: try again later"
            ) from None
        if answer.error is not None:
            refused = failure_of(answer.status, answer.error, "the subscription to the account's events")
            if isinstance(refused, ClockDiffers):
                await self._client.learn_the_time()
            raise refused
        if answer.id != id_:
            raise Unreachable(f"expected the answer to {id_}, was {message[:80]!r}: try again later")
        self._made += 1
        if self._made > 1:
            self.gaps += 1
