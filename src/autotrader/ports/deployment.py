"""What a deployment stands on: durable state of rollouts and routes, and a place where colours run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from autotrader.domain.errors import Refused
from autotrader.domain.rollout import Color, Outcome, RolloutState, Stage
from autotrader.ports.events import Event

# In its watched stages, a rollout's requests are answered by both colours while it is one of these.
PAIRED_STATES = frozenset({RolloutState.WORKING, RolloutState.PAUSED})


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers for an instrument.

    Attributes
    ----------
    instrument : str
        `venue:symbol`.
    color : Color
        The owner, as long as it is supervised.
    fallback : Color or None
        The owner once `green_until` has passed unrenewed; None where no version was live before.
    epoch : int
        Grows with every change of owner: an answer that was asked for in an older one is discarded.
    green_until : datetime or None
        Wall time, UTC; None where the owner needs no supervision.
    rollout_id : str or None
        The rollout that changed it last; recorded with the change, whatever it says.
    """

    instrument: str
    color: Color
    fallback: Color | None
    epoch: int
    green_until: datetime | None
    changed_at: datetime
    changed_by: str
    rollout_id: str | None = None

    def owner(self, now: datetime) -> Color | None:
        """Who is to be asked now; None means nobody: there is no prediction to act on."""
        if self.green_until is None or now < self.green_until:
            return self.color
        return self.fallback


class SlotState(StrEnum):
    EMPTY = "empty"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Slot:
    """What is meant to run in a colour.

    Attributes
    ----------
    version : str or None
        Semver; None where nothing is.
    endpoint : str or None
        Base URL that callers ask.
    warm_until : datetime or None
        When it may be stopped, if it owns nothing; None keeps it.
    """

    color: Color
    state: SlotState
    version: str | None
    onnx_sha256: str | None
    endpoint: str | None
    reason: str
    changed_at: datetime
    changed_by: str
    warm_until: datetime | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether something is meant to run."""
        return self.state not in (SlotState.EMPTY, SlotState.STOPPING)

    def serves(self, version: str) -> bool:
        """Whether the colour can take traffic with this version at once, as far as is recorded."""
        return self.state is SlotState.READY and self.version == version


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout as it stands; `revision` grows with each change, and every change names the one it saw.

    Attributes
    ----------
    version, previous_version : str
        Semvers of candidate and of what was live when it began (None: nothing).
    candidate : Color
    stage : Stage
        The stage that is under way, or ended last.
    stage_outcome : Outcome or None
        None while the stage is under way.
    goal : Stage
        The stage up to which somebody asked it to go.
    stage_since, stage_ended : datetime
        Wall time.
    is_faulty : bool
        Whether it was taken back for what the candidate did, rather than for other reasons.
    """

    id: str
    strategy_id: str
    version: str
    previous_version: str | None
    candidate: Color
    profile: str
    state: RolloutState
    stage: Stage
    stage_outcome: Outcome | None
    goal: Stage
    revision: int
    requested_by: str
    reason: str
    created_at: datetime
    stage_since: datetime
    stage_ended: datetime | None = None
    ended_at: datetime | None = None
    is_faulty: bool = False

    @property
    def is_paired(self) -> bool:
        """Whether what callers ask is answered by both colours, and recorded."""
        return self.stage.is_watched and self.state in PAIRED_STATES


@dataclass(frozen=True, slots=True)
class Watched:
    """A rollout of which each request is answered by both colours, and recorded."""

    rollout_id: str
    candidate: Color


@dataclass(frozen=True, slots=True)
class Routing:
    """What a caller must know of an instrument to ask for a prediction.

    Attributes
    ----------
    route : Route
    endpoints : Mapping of Color to str
        Base URLs, of the colours in which something runs.
    watched : Watched or None
        None where nothing is compared.
    """

    route: Route
    endpoints: Mapping[Color, str]
    watched: Watched | None


@dataclass(frozen=True, slots=True)
class StageRecord:
    """How a stage of a rollout ended."""

    stage: Stage
    outcome: Outcome
    reason: str
    seconds: float
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """One request answered by both colours, or by the candidate alone where nothing was live.

    Attributes
    ----------
    request_id : str
    instrument : str
    ts : datetime
        Market time of the bar that the features are of.
    replayed : bool
        Sent by the driver rather than by a caller who acts on it.
    stable_status, candidate_status : int or None
        HTTP status; 0 where there was no answer; None where the colour was not asked.
    stable_seconds, candidate_seconds : float or None
        Until the answer was whole; of a time-out, the time waited.
    stable_score, candidate_score : float or None
        Probability of a rise minus that of a fall.
    parity_difference : float or None
        Largest difference of the candidate's probabilities from the offline model's.
    """

    request_id: str
    instrument: str
    ts: datetime
    replayed: bool
    stable_status: int | None
    candidate_status: int
    stable_seconds: float | None
    candidate_seconds: float
    stable_score: float | None
    candidate_score: float | None
    parity_difference: float | None


def require_ready(slots: Iterable[Slot], rollout: Rollout) -> Slot:
    """The candidate's slot; raises Refused if it cannot take traffic at once."""
    slot = next((slot for slot in slots if slot.color is rollout.candidate), None)
    if slot is None or not slot.serves(rollout.version):
        held = f"{slot.version or 'nothing'}, {slot.state}" if slot else "nothing"
        raise Refused(f"expected {rollout.version} ready in {rollout.candidate}, was {held}")
    return slot


@runtime_checkable
class DeploymentRecords(Protocol):
    """The truth of a strategy's deployment. A change and its events are one transaction."""

    def routes(self) -> Sequence[Route]: ...

    def routing(self, instrument: str) -> Routing | None:
        """All that a caller needs to ask for a prediction, as of one instant; None without a route."""
        ...

    def slots(self) -> Mapping[Color, Slot]: ...

    def active(self) -> Rollout | None:
        """The rollout that is not over; there is at most one."""
        ...

    def live(self) -> Rollout | None:
        """The rollout that was completed last: its version is live, in its candidate's colour."""
        ...

    def find(self, rollout_id: str) -> Rollout:
        """Raises NotFound."""
        ...

    def recent(self, limit: int = 10) -> Sequence[Rollout]:
        """Newest first."""
        ...

    def stages(self, rollout_id: str) -> Sequence[StageRecord]:
        """How its stages ended, in order."""
        ...

    def begin(self, rollout: Rollout, event: Event) -> Rollout:
        """Record a new rollout; one of that id that is there already is returned as it stands.

        The first revision is 1, whatever it says.

        Raises
        ------
        Refused
            If another is under way, another version is live than the one it was planned on, or it
            begins at its end and its candidate is not ready.
        """
        ...

    def change(
        self,
        seen: Rollout,
        new: Rollout,
        event: Event,
        *,
        routes: Sequence[Route] = (),
        slots: Sequence[Slot] = (),
        seen_slots: Sequence[Slot] = (),
        ended: StageRecord | None = None,
    ) -> Rollout | None:
        """Replace what was seen by the new state, with its routes, slots, stage record and event.

        The epoch of each given route is the next one, whatever it says, and so is the revision.
        Id and revision are added to the event's key, so that each change is told once. Returns
        None, having changed nothing, if somebody else changed the rollout, or one of the slots that
        it was planned on, since they were seen.

        Raises
        ------
        Refused
            If the state machine has no such transition.
        """
        ...

    def set_slot(self, slot: Slot) -> None:
        """Whatever it held before: for who alone may change it."""
        ...

    def replace_slot(self, seen: Slot, new: Slot, *, idle: bool = False) -> bool:
        """Put a slot in the place of the one that was seen.

        False, having changed nothing, if somebody else changed it since; with `idle`, also while a
        route names its colour or a rollout is under way.
        """
        ...

    def renew(self, rollout_id: str, *, until: datetime, now: datetime) -> bool:
        """Extend supervision of the routes that this rollout put under it.

        False, having extended none, if it has lapsed for one (readers went back) or the rollout is
        over.
        """
        ...

    def add_pairs(self, rollout_id: str, pairs: Sequence[Pair]) -> None:
        """Append; a request id that is there already is left."""
        ...

    def pairs(self, rollout_id: str, *, after: int = 0, limit: int = 100_000) -> Sequence[tuple[int, Pair]]:
        """Numbered in order of arrival, those beyond `after`."""
        ...

    def forget_pairs(self, older_than: datetime) -> int:
        """Remove the pairs of rollouts that ended before; returns how many there were."""
        ...

    def beat(self, component: str, at: datetime, data: Mapping[str, object] = {}) -> None:
        """Say that a component is alive."""
        ...

    def heartbeat(self, component: str) -> tuple[datetime, Mapping[str, object]] | None: ...


@dataclass(frozen=True, slots=True)
class Release:
    """A model version made ready to serve.

    Attributes
    ----------
    folder : str
        Holds `model.onnx`.
    onnx_sha256 : str
        Digest that the registry knows; the service refuses another.
    """

    model: str
    version: str
    folder: str
    onnx_sha256: str
    feature_set: str


@dataclass(frozen=True, slots=True)
class SlotHealth:
    """What a colour says of itself.

    Attributes
    ----------
    live, ready : bool
    version : str or None
        That it serves.
    reason : str
    memory_bytes : int or None
    """

    live: bool
    ready: bool
    version: str | None
    reason: str
    memory_bytes: int | None = None


@runtime_checkable
class DeploymentTarget(Protocol):
    """Where the colours run. Every method may be called again after a crash."""

    def start(self, color: Color, release: Release) -> str:
        """Run the release in this colour, replacing another; returns the base URL without waiting for it.

        Raises
        ------
        DependencyError
        """
        ...

    def health(self, color: Color) -> SlotHealth:
        """Ask it; an absent or silent service is a report, not an error."""
        ...

    def stop(self, color: Color) -> None:
        """Drain and end what runs in this colour, and leave the other alone."""
        ...

    def sends_elsewhere(self, color: Color) -> str | None:
        """Where callers go that name no colour, if not to this one; None if they do.

        Also None where every caller has to name a colour.

        Raises
        ------
        DependencyError, NotFound, ConfigurationError
        """
        ...

    def point(self, color: Color) -> None:
        """Send callers that name no colour to this one.

        Raises
        ------
        DependencyError, NotFound, ConfigurationError
        """
        ...


@runtime_checkable
class ReleaseStore(Protocol):
    """Where releases lie for machines that did not make them."""

    def put(self, release: Release) -> str:
        """Keep the release of this folder; returns its URI.

        The same release may be put again, by several at once.

        Raises
        ------
        Refused
            If another one lies there under this version.
        DependencyError
        """
        ...

    def fetch(self, uri: str, onnx_sha256: str, folder: Path) -> Release:
        """Bring a release into this folder, whole or not at all; one that is there and intact stays.

        Raises
        ------
        BadData
            If what lies there is not the model of this digest.
        NotFound, DependencyError
        """
        ...
