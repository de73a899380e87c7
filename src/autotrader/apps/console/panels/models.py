"""Champion, challenger and previous, with what their gates said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotrader.apps.console.panel import Filled, Missing, Panel
from autotrader.apps.console.sources import Sources
from autotrader.domain.errors import AutotraderError
from autotrader.log import mask_text
from autotrader.ports.registry import Alias, ModelVersion
from autotrader.ports.tracking import ExperimentTracker

GATES_TABLE = "gates.json"

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One alias.

    Attributes
    ----------
    gates : sequence of mapping
        Rows of the gate report; empty where `trouble` says why.
    run_url : str or None
        Of the tracking run.
    """

    alias: Alias
    version: ModelVersion | None
    gates: Sequence[Row] = ()
    run_url: str | None = None
    trouble: str = ""

    @property
    def tally(self) -> str:
        """Such as `9 passed, 1 failed, 4 undecided`."""
        found = Counter(str(gate.get("outcome")) for gate in self.gates)
        named = {"pass": "passed", "fail": "failed"}
        return ", ".join(f"{count} {named.get(name, name)}" for name, count in found.items())

    @property
    def unmet(self) -> int:
        """Enforced gates that did not pass."""
        return sum(gate.get("outcome") != "pass" and bool(gate.get("enforced")) for gate in self.gates)


def read(sources: Sources) -> Filled | Missing:
    """From the registry; the gates from the tracking runs, which may be down without the rest."""
    name = sources.settings.strategy.strategy_id
    versions = sources.registry().list(name)
    if not versions:
        return Missing(f"No version of {name} is registered yet.", dag="training_pipeline")
    aliased = {alias: version for version in versions for alias in version.aliases}
    return Filled(
        {
            "name": name,
            "cards": [_card(sources, alias, aliased.get(alias)) for alias in Alias],
            "newest": versions[0],
            "count": len(versions),
        }
    )


def _card(sources: Sources, alias: Alias, version: ModelVersion | None) -> ModelCard:
    if version is None:
        return ModelCard(alias, None)
    try:
        tracker = sources.tracker()
        return ModelCard(
            alias,
            version,
            gates=_gates(sources, tracker, version.run_id),
            run_url=tracker.run_url(version.run_id),
        )
    except AutotraderError as error:
        return ModelCard(alias, version, trouble=mask_text(" ".join(str(error).split())))


def _gates(sources: Sources, tracker: ExperimentTracker, run_id: str) -> Sequence[Row]:
    if run_id not in sources.gates:
        table = tracker.read_table(run_id, GATES_TABLE)
        rows = zip(*table.values(), strict=True)
        sources.gates[run_id] = tuple(dict(zip(table, row, strict=True)) for row in rows)
    return sources.gates[run_id]


MODELS = Panel("models", "Models", read, dags=("training_pipeline", "deployment_pipeline"), span="wide")
