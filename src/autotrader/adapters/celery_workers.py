"""Celery's workers, asked through their broker how they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotrader.domain.errors import ConfigurationError, Unreachable

ANSWER_SECONDS = 1.0
CONNECT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Worker:
    """One that answered.

    Attributes
    ----------
    active : int
        Tasks that it works on.
    memory_bytes, cpu_percent : float or None
        Of it and all that it started. None of one that does not tell (see `celery_usage`); a percentage
        is of one processor since the look before, and there was none at first.
    """

    name: str
    active: int
    memory_bytes: float | None
    cpu_percent: float | None


class CeleryWorkers:
    """Asks all of them at once; one that does not answer within a second is not there.

    Parameters
    ----------
    broker_url : str

    Raises
    ------
    ConfigurationError
        If Celery is not installed here.
    """

    def __init__(self, broker_url: str) -> None:
        try:
            import redis  # noqa: F401 - Celery looks for it only when it connects, and retries without it
            from celery import Celery  # type: ignore[import-untyped]
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"expected celery and redis where the exporter runs, was {error}: install autotrader[airflow]"
            ) from None

        self._app = Celery(broker=broker_url, set_as_current=False)
        self._app.conf.broker_transport_options = {
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_timeout": CONNECT_SECONDS + ANSWER_SECONDS,
        }
        self._used: Mapping[str, Mapping[str, float]] = {}

    def __call__(self) -> Sequence[Worker]:
        """Those that answer.

        Raises
        ------
        Unreachable
            If the broker does not.
        """
        from kombu.exceptions import OperationalError

        try:
            # Without it, Celery would try to connect again and again, for minutes.
            with self._app.connection_for_write(connect_timeout=CONNECT_SECONDS) as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_SECONDS)
                inspect = self._app.control.inspect(timeout=ANSWER_SECONDS, connection=connection)
                stats, active = inspect.stats() or {}, inspect.active() or {}
        except (OperationalError, OSError) as error:
            raise Unreachable(f"expected the broker of Celery's workers to answer, was: {error}") from error
        used = {name: answer["usage"] for name, answer in stats.items() if "usage" in answer}
        workers = [
            Worker(
                name=name,
                active=len(active.get(name) or ()),
                memory_bytes=used[name]["memory_bytes"] if name in used else None,
                cpu_percent=_percent(self._used.get(name), used.get(name)),
            )
            for name in sorted(stats)
        ]
        self._used = used
        return workers


def _percent(before: Mapping[str, float] | None, now: Mapping[str, float] | None) -> float | None:
    if before is None or now is None:
        return None
    spent, passed = (now[name] - before[name] for name in ("processor_seconds", "at"))
    # Less than before: it is another one of its name.
    return 100.0 * spent / passed if spent >= 0 and passed > 0 else None
