"""A running colour as a prober talks to it: raw HTTP, and bodies that no honest caller would send."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from autotrader.deployment.checks.golden import Golden, GoldenRow
from autotrader.domain.rollout import Color
from autotrader.ports.deployment import Release
from autotrader.ports.predictions import COLOR_HEADER

TIMEOUT_SECONDS = 10.0
MOST_SHOWN = 500  # of a body: a complaint names a path, and what is the matter behind it


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes
    ----------
    body : Any
        Parsed JSON; None where it is none.
    """

    status: int
    body: Any
    text: str

    @property
    def shown(self) -> str:
        """Status and the beginning of the body, for a reason."""
        return f"{self.status} {' '.join(self.text.split())[:MOST_SHOWN]}"


class Colour:
    """Sends requests to one colour; every prediction is marked as one that nobody acts on.

    Parameters
    ----------
    endpoint : str
        Base URL.
    token : str
        Of a caller.
    color : Color
        That it should be.
    release : Release
        That it should serve.
    golden : Golden
        Of that release, with at least one row.
    connections : int
        At once.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        token: str,
        color: Color,
        release: Release,
        golden: Golden,
        connections: int,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.color = color
        self.release = release
        self.golden = golden
        self._token = token
        self._run = uuid.uuid4().hex[:12]
        self._numbers = itertools.count()
        self._http = httpx.Client(
            base_url=endpoint,
            headers={COLOR_HEADER: color.value},  # both colours may be behind one address
            timeout=TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=False,  # a proxy of the environment must not stand between
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def rows_by_instrument(self) -> dict[str, list[GoldenRow]]:
        """Golden rows, as one request can hold them."""
        found: dict[str, list[GoldenRow]] = {}
        for row in self.golden.rows:
            found.setdefault(row.instrument, []).append(row)
        return found

    def body(self, rows: Sequence[GoldenRow], /, **changed: object) -> dict[str, object]:
        """A good request for rows of one instrument, with some fields changed."""
        good: dict[str, object] = {
            "request_id": f"probe-{self._run}-{next(self._numbers)}",
            "instrument": rows[0].instrument,
            "feature_set": self.release.feature_set,
            "ts": [row.ts for row in rows],
            "rows": [list(row.row) for row in rows],
            "replayed": True,
        }
        return good | changed

    def predict(self, rows: Sequence[GoldenRow], /, **changed: object) -> Reply:
        """Ask about rows of one instrument, as a caller does."""
        return self.post(self.body(rows, **changed))

    def post(
        self,
        body: Mapping[str, object] | str,
        *,
        token: str | None = "",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """POST /predict.

        Parameters
        ----------
        body : Mapping or str
            A string is sent as it is.
        token : str or None
            Empty is the caller's own, None sends none.
        """
        sent = {"Content-Type": "application/json", **(headers or {})}
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self._token}"
        content = body if isinstance(body, str) else json.dumps(body)
        return _reply(self._http.post("/predict", content=content.encode(), headers=sent))

    def get(self, path: str) -> Reply:
        """GET a page that needs no token."""
        return _reply(self._http.get(path))


def _reply(response: httpx.Response) -> Reply:
    try:
        body = response.json()
    except ValueError:
        body = None
    return Reply(response.status_code, body, response.text)
