"""A person's request to the trader of an account: put before it, and waited for."""

from __future__ import annotations

import time
from datetime import datetime
from uuid import uuid4

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.domain.errors import ExitCode, NotFound
from autotrader.domain.trading import ControlKind
from autotrader.ports.clock import WallClock
from autotrader.ports.events import Event, EventLog, EventType
from autotrader.ports.trading import AccountState, Control, TradingRecords

PATIENCE_SECONDS = 15.0
_POLL_SECONDS = 0.2
_REFUSED = "refused: "


def account_of(records: TradingRecords, settings: Settings, name: str | None) -> AccountState:
    """The account that is meant.

    Raises
    ------
    NotFound
        Naming the accounts that there are.
    """
    wanted = name or settings.trading.account
    state = records.state(wanted)
    if state is None:
        known = ", ".join(account.account for account in records.accounts()) or "none has traded yet"
        raise NotFound(f"expected an account that has traded ({known}), was {wanted!r}")
    return state


def ask_trader(
    records: TradingRecords,
    events: EventLog,
    clock: WallClock,
    *,
    account: str,
    kind: ControlKind,
    actor: str,
    reason: str,
) -> command.Result:
    """Put a request, and wait until the trader has answered it.

    A request outlives everything: where no trader runs, the next one does it before anything else.
    """
    control = Control(uuid4().hex, account, kind, actor, reason, clock.now())
    records.ask(control)
    events.record(
        Event(
            key=f"asked-{control.id}",
            type=EventType.AUDIT,
            severity="warning",
            message=f"{actor} asked account {account} to {kind.value}: {reason}",
            actor=actor,
            at=control.asked_at,
            data={"control": control.id},
        )
    )
    if not _is_owned(records, account, clock.now()):
        text = f"no trader runs on account {account}: it will {kind.value} before it does anything else"
        return command.Result({"account": account, "answered": False, "answer": text}, text)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = records.control(control.id)
        if found is not None and found.answered_at is not None:
            data = {"account": account, "answered": True, "answer": found.answer}
            refused = found.answer.startswith(_REFUSED)
            return command.Result(data, found.answer, ExitCode.REFUSED if refused else ExitCode.DONE)
        time.sleep(_POLL_SECONDS)
    text = f"the trader of account {account} has not answered in {PATIENCE_SECONDS:g} s; the request stands"
    return command.Result({"account": account, "answered": False, "answer": text}, text, ExitCode.UNREACHABLE)


def _is_owned(records: TradingRecords, account: str, now: datetime) -> bool:
    lease = records.lease(account)
    return lease is not None and lease.expires_at > now
