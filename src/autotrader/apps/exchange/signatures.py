"""Who asks, and whether in time: keys, signatures and timestamps, checked as the venue does."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from autotrader.apps.exchange.answers import Refused
from autotrader.apps.exchange.clock import ExchangeClock
from autotrader.apps.exchange.klines import epoch_ms

KEY, SECRET = "stand-in-key", "stand-in-secret"  # pragma: allowlist secret
DEFAULT_WINDOW_MS, LONGEST_WINDOW_MS, MAY_BE_AHEAD_MS = 5000.0, 60_000.0, 1000


@dataclass(frozen=True, slots=True)
class Signatures:
    """The one key of the exchange.

    Parameters
    ----------
    clock : ExchangeClock
        Windows are as long in its time as they are for whoever asks: a clock that runs at sixty
        times the speed gives sixty times as long.
    """

    clock: ExchangeClock
    key: str = KEY
    secret: str = SECRET

    def check(self, key: str | None, payload: str, asked: Mapping[str, str]) -> None:
        """Let a request pass.

        Parameters
        ----------
        payload : str
            All parameters as they were sent, `a=b&c=d`, the signature among them.

        Raises
        ------
        Refused
            If the key is not ours, the signature is not of the payload, or the time has passed.
        """
        if key != self.key:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        for name in ("timestamp", "signature"):
            if not asked.get(name):
                raise Refused(
                    -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
                )
        signed = "&".join(part for part in payload.split("&") if not part.startswith("signature="))
        expected = hmac.new(self.secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(asked["signature"].encode(), expected.encode()):
            raise Refused(-1022, "Signature for this request is not valid.")
        self._check_time(asked)

    def _check_time(self, asked: Mapping[str, str]) -> None:
        try:
            at_ms, window_ms = int(asked["timestamp"]), float(asked.get("recvWindow", DEFAULT_WINDOW_MS))
        except ValueError:
            raise Refused(-1100, "Illegal characters found in parameter 'timestamp'.") from None
        if window_ms > LONGEST_WINDOW_MS:
            raise Refused(-1131, "recvWindow must be less than 60000")
        speed = max(1.0, self.clock.speed)
        late_ms = epoch_ms(self.clock.now()) - at_ms
        if late_ms < -MAY_BE_AHEAD_MS * speed:
            raise Refused(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if late_ms > window_ms * speed:
            raise Refused(-1021, "Timestamp for this request is outside of the recvWindow.")
