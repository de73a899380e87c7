"""Which processes a region failover stops and starts, and in which order."""

from __future__ import annotations

from autotrader.adapters.aws_region import Region
from autotrader.config.aws_names import AwsNames, Process
from autotrader.domain.rollout import Color

# In the order in which they come up; the trader is not one of them: it is last, and has a step of its own.
STARTED = (
    Process.MLFLOW,
    Process.CONTROLLER,
    Process.API,
    Process.EXPORTER,
    Process.ALERTMANAGER,
    Process.PROMETHEUS,
    Process.ALERTS,
    Process.GRAFANA,
)
# The trader first: what may send orders is stopped before anything else.
STOPPED = (Process.TRADER, Process.CONTROLLER, Process.API, Process.ALERTS, Process.SHIPPER)


def missing(target: Region) -> list[str]:
    """What of services and task definitions is not there."""
    names = target.names
    services = [name for name in _services(names, (*STARTED, Process.TRADER)) if target.service(name) is None]
    families = [f"serving-{color.value}" for color in Color]
    families += [process.value for process in (*STARTED, Process.TRADER)]
    definitions = [names.task_family(family) for family in families]
    return [f"service {name}" for name in services] + [
        f"task definition {name}" for name in definitions if not target.has_definition(name)
    ]


def stop_all(origin: Region) -> list[str]:
    """Scale to nothing what writes, trades or tells people; names of those that were not there already."""
    return [name for name in _services(origin.names, STOPPED) if _stop(origin, name)]


def start(target: Region, name: str) -> None:
    """Have one task of it, unless some are wanted already."""
    found = target.service(name)
    if found is None or found.desired == 0:
        target.scale(name, 1)


def down(target: Region) -> list[str]:
    """Of what is started, that of which no task is wanted."""
    wanted = [target.names.service(process) for process in STARTED]
    return [name for name in wanted if not (found := target.service(name)) or found.desired < 1]


def _services(names: AwsNames, processes: tuple[Process, ...]) -> list[str]:
    colours = [names.colour_service(color.value) for color in Color]
    return [names.service(process) for process in processes] + colours


def _stop(origin: Region, name: str) -> bool:
    found = origin.service(name)
    if found is None or found.desired == 0:
        return False
    origin.scale(name, 0)
    return True
