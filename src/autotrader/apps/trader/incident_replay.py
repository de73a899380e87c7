"""Decide again on the bars of an incident: as then, or with another model."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from autotrader import command
from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.model_predictor import ModelPredictor
from autotrader.adapters.recorded_broker import RecordedBroker
from autotrader.adapters.releases import MODEL_FILE
from autotrader.apps.trader.incident_answers import RecordedAnswers, open_model
from autotrader.apps.trader.incident_bundle import Incident, read_bundle
from autotrader.apps.trader.incident_difference import Difference, Recording, What
from autotrader.apps.trader.incident_run import Rerun, begin_again, holdings_in, rules_in, terms_in
from autotrader.apps.trader.incident_what_if import what_if
from autotrader.config.settings import Settings
from autotrader.domain.errors import ExitCode, NotFound
from autotrader.domain.instruments import Venue
from autotrader.domain.orders import Fill
from autotrader.trading.bars import Batch
from autotrader.trading.checkpoint import Checkpoint


@dataclass(frozen=True)
class Replayed:
    """What came of deciding again as then.

    Attributes
    ----------
    start, until : datetime
        Bars that opened in [start, until).
    bars : int
        Instants of which bars were decided on, until the first difference.
    recorded_hash, replayed_hash : str
        Of all decisions before `until`.
    """

    account: str
    start: datetime
    until: datetime
    bars: int
    orders: int
    recorded_hash: str
    replayed_hash: str
    equal: bool
    difference: Difference | None

    def to_text(self) -> str:
        """For a terminal."""
        lines = [
            f"account {self.account}, {self.start:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M} UTC: "
            f"{self.bars:,} instants, {self.orders:,} orders decided again",
            f"  recorded {self.recorded_hash[:16] or '-'}, replayed {self.replayed_hash[:16] or '-'}: "
            + ("the same decisions" if self.equal else "NOT the same decisions"),
        ]
        if self.difference is not None:
            lines.append(self.difference.to_text())
        return "\n".join(lines)


def incident_replay(*, file: Path, model: str | None = None, settings: Settings) -> command.Result:
    """Decide again on the bars of an incident: as then, or with another model.

    As then: the models that answered, and a venue that does what it did. Exit code 0 if all decisions
    are those that were recorded; 1 if not, with the first bar that differs. With another model
    the paper venue fills, and what would have come of it stands beside what happened. Everything
    takes place in a temporary folder; nothing is asked of anybody.

    Parameters
    ----------
    file : Path
        As `incident export` wrote it.
    model : str
        A version that is in the bundle or was served here, or the path of an ONNX file.
    """
    incident = read_bundle(file)
    with tempfile.TemporaryDirectory(prefix="autotrader-replay-") as folder:
        if model is not None:
            predictor = _model(incident, model, settings)
            compared = asyncio.run(what_if(incident, predictor, model, settings, Path(folder)))
            return command.Result(compared, compared.to_text())
        replayed = asyncio.run(_as_then(incident, settings, Path(folder)))
    code = ExitCode.DONE if replayed.equal else ExitCode.FAILED
    return command.Result(replayed, replayed.to_text(), code)


# ------------------------------------------------------------------------------------- as then


async def _as_then(incident: Incident, settings: Settings, folder: Path) -> Replayed:
    """Each stretch from a checkpoint to the next one, until something differs."""
    recording = Recording(incident)
    answers = RecordedAnswers(incident.models, incident.signals)
    ends = [*incident.checkpoints[1:], None]
    bars = orders = 0
    replayed = ""
    difference: Difference | None = None
    for number, (checkpoint, after) in enumerate(zip(incident.checkpoints, ends, strict=True)):
        until = incident.until if after is None else after.ts
        home = folder / str(number)
        home.mkdir()
        venue = _recorded_venue(incident, checkpoint)
        rerun = await begin_again(
            checkpoint,
            checkpoint.state,
            terms_in(checkpoint, settings, home=home),
            bars=incident.bars,
            orders=incident.orders,
            venue=venue,
            predictor=answers,
            entry_rules=answers,
        )
        stretch = _Stretch(recording, rerun, venue, answers)
        await rerun.walk(
            venue, incident.batches(checkpoint, until), look=stretch.look, is_late=recording.was_late
        )
        bars, orders = bars + stretch.bars, orders + len(venue.submitted)
        replayed, difference = rerun.trader.decision_hash, stretch.difference
        recorded = incident.decision_hash if after is None else after.decision_hash
        if difference is None and replayed != recorded:
            difference = Difference(
                checkpoint.ts,
                What.HASH,
                None,
                recorded[:16],
                f"{replayed[:16]} with the same scores, targets and orders: other bars, or units wanted",
                interventions=recording.interventions(until),
            )
        if difference is not None:
            break
    return Replayed(
        account=incident.account,
        start=incident.first.ts,
        until=incident.until,
        bars=bars,
        orders=orders,
        recorded_hash=incident.decision_hash,
        replayed_hash=replayed,
        equal=difference is None,
        difference=difference,
    )


class _Stretch:
    """Looks at each step of a replay."""

    def __init__(
        self, recording: Recording, rerun: Rerun, venue: RecordedBroker, answers: RecordedAnswers
    ) -> None:
        self.bars = 0
        self.difference: Difference | None = None
        self._recording = recording
        self._rerun = rerun
        self._venue = venue
        self._answers = answers
        self._seen = 0

    def look(self, batch: Batch) -> bool:
        """False after the first difference."""
        self.bars += 1
        orders = self._venue.submitted[self._seen :]
        self._seen = len(self._venue.submitted)
        signals = self._rerun.trader.take_signals()
        self.difference = self._recording.compare(batch, signals, orders, self._answers.rows)
        return self.difference is None


def _recorded_venue(incident: Incident, checkpoint: Checkpoint) -> RecordedBroker:
    begin = checkpoint.first_close
    orders = [order for order in incident.orders if order.decided_at >= begin]
    ours = {order.client_order_id for order in orders}
    return RecordedBroker(
        Venue(checkpoint.state.venue),
        rules=rules_in(checkpoint),
        holdings=holdings_in(checkpoint),
        orders=orders,
        fills=[
            fill
            for fill in incident.fills
            if fill.client_order_id in ours or (fill.at >= begin and not _is_adopted(fill))
        ],
        clock=SystemWallClock(),
    )


def _is_adopted(fill: Fill) -> bool:
    """Whether a person took it over from the venue's account: that has a checkpoint of its own."""
    return fill.client_order_id is None and fill.venue_order_id is None


def _model(incident: Incident, model: str, settings: Settings) -> ModelPredictor:
    """By version, out of the bundle or of what was served here; or out of a file."""
    content = incident.models.get(model)
    if content is None:
        served = settings.home / "releases" / model / MODEL_FILE
        path = next((p for p in (Path(model), served) if p.is_file()), None)
        if path is None:
            known = ", ".join(sorted(incident.models)) or "none"
            raise NotFound(
                f"expected a version of the bundle ({known}) or of {served.parent.parent}, or an ONNX file, "
                f"was {model}"
            )
        content = path.read_bytes()
    return open_model(content, model)


if __name__ == "__main__":
    raise SystemExit(command.run(incident_replay))
