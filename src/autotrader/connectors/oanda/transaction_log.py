"""The account's transactions: ranges of the past by REST, the present by the stream."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from autotrader.connectors.oanda.client import OandaClient
from autotrader.connectors.oanda.transactions import Transaction
from autotrader.domain.errors import Unreachable

# The venue's largest page.
PAGE = 1000


class TransactionLog:
    """Reads the log of one account, and remembers how far it is known to reach.

    Parameters
    ----------
    client : OandaClient
    account_id : str
        The venue's.
    """

    def __init__(self, client: OandaClient, account_id: str) -> None:
        self._client = client
        self._path = f"/v3/accounts/{account_id}/transactions"
        self.newest = 0

    def note(self, answer: Transaction) -> None:
        """Take in how far the log reached when the venue gave an answer."""
        if said := answer.get("lastTransactionID"):
            self.newest = max(self.newest, int(said))

    async def since(self, start: datetime, *kinds: str) -> list[Transaction]:
        """Transactions from an instant on, oldest first.

        Parameters
        ----------
        start : datetime
            By the venue's clock, UTC.
        *kinds : str
            Of these types only; all where none is named.
        """
        parameters = {"from": _rfc3339(start), "pageSize": str(PAGE), **_of_types(kinds)}
        answer = body(await self._client.get(self._path, **parameters))
        self.note(answer)
        found: list[Transaction] = []
        for page in answer.get("pages", ()):
            # Only its range is taken: a token goes to no host that an answer names.
            limits = parse_qs(urlsplit(page).query)
            found += await self.between(int(limits["from"][0]), int(limits["to"][0]), *kinds)
        return found

    async def between(self, first: int, last: int, *kinds: str) -> list[Transaction]:
        """Transactions of the ids `first` to `last`, both included."""
        found: list[Transaction] = []
        for start in range(first, last + 1, PAGE):
            parameters = {"from": str(start), "to": str(min(last, start + PAGE - 1)), **_of_types(kinds)}
            answer = body(await self._client.get(f"{self._path}/idrange", **parameters))
            self.note(answer)
            found += answer["transactions"]
        return found

    async def one(self, transaction_id: int) -> Transaction:
        answer = body(await self._client.get(f"{self._path}/{transaction_id}"))
        transaction: Transaction = answer["transaction"]
        return transaction

    async def stream(self, *, silence_seconds: float) -> AsyncIterator[Transaction]:
        """Transactions and heartbeats as the venue tells them, until the connection ends.

        Raises
        ------
        Unreachable, Throttled, Rejected
            Also after so long a silence; the venue sends a heartbeat every 5 s.
        """
        async with self._client.lines(f"{self._path}/stream", silence_seconds=silence_seconds) as lines:
            async for line in lines:
                if line.strip():
                    try:
                        said = json.loads(line)
                    except ValueError as error:
                        raise Unreachable(
                            f"expected JSON in {self._path}/stream, was {line[:80]!r}"
                        ) from error
                    yield said


def body(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer; a proxy's page or half an answer is none.

    Raises
    ------
    Unreachable
    """
    try:
        answer = json.loads(response.content)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        kind = response.headers.get("Content-Type", "no content type")
        url = response.url.copy_with(query=None)
        raise Unreachable(
            f"expected JSON of {url}, was {kind} of {len(response.content)} bytes: "
            "what was asked for may have been done all the same"
        )
    return answer


def _of_types(kinds: tuple[str, ...]) -> dict[str, str]:
    return {"type": ",".join(kinds)} if kinds else {}


def _rfc3339(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
