"""Is all called in Terraform what Python calls it? `python -m tests.terraform.names PLAN.json`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotrader.config.aws_names import AwsNames, Bucket, Process
from autotrader.domain.rollout import Color

# Terraform type: the attribute that is its name.
_NAMED = {
    "aws_cloudwatch_log_group": "name",
    "aws_db_instance": "identifier",
    "aws_ecr_repository": "name",
    "aws_ecs_cluster": "name",
    "aws_ecs_service": "name",
    "aws_ecs_task_definition": "family",
    "aws_lb": "name",
    "aws_lb_target_group": "name",
    "aws_s3_bucket": "bucket",
    "aws_secretsmanager_secret": "name",
    "aws_sns_topic": "name",
}
# A container of the colours' tasks; one is licensed software that not everybody has.
_NOT_A_SERVICE = {Process.SHIPPER, Process.STEP}
_OPTIONAL = {Process.IB_GATEWAY}


# What waits in the DR region has neither: the buckets are copies, the database is restored.
_NOT_OF_A_STANDBY = {"aws_db_instance", "aws_s3_bucket"}


@dataclass(frozen=True)
class Expected:
    """Names of a type: those that must be there, and those that may."""

    needed: frozenset[str]
    allowed: frozenset[str] = frozenset()


def expected(names: AwsNames) -> dict[str, Expected]:
    """By Terraform type, what an environment has."""
    services = set(Process) - _NOT_A_SERVICE
    colours = [f"serving-{color.value}" for color in Color]
    tasks = {process.value for process in services - _OPTIONAL} | {Process.STEP.value, *colours}
    gateway = Process.IB_GATEWAY.value
    return {
        "aws_cloudwatch_log_group": Expected(
            frozenset(map(names.log_group, tasks)), frozenset({names.log_group(gateway)})
        ),
        "aws_db_instance": Expected(frozenset({names.database})),
        "aws_ecr_repository": Expected(frozenset(), frozenset({"autotrader"})),
        "aws_ecs_cluster": Expected(frozenset({names.cluster})),
        "aws_ecs_service": Expected(
            frozenset(map(names.service, services - _OPTIONAL))
            | {names.colour_service(color.value) for color in Color},
            frozenset(map(names.service, _OPTIONAL)),
        ),
        "aws_ecs_task_definition": Expected(
            frozenset(map(names.task_family, tasks)), frozenset({names.task_family(gateway)})
        ),
        "aws_lb": Expected(frozenset({names.load_balancer})),
        "aws_lb_target_group": Expected(frozenset(names.target_group(color.value) for color in Color)),
        "aws_s3_bucket": Expected(frozenset(map(names.bucket, Bucket))),
        "aws_sns_topic": Expected(frozenset({names.alert_topic()})),
    }


def planned(plan: dict[str, Any]) -> dict[str, set[str]]:
    """Names by Terraform type that the environment will have, but for copies in another region."""
    found: dict[str, set[str]] = defaultdict(set)
    for resource in _resources(plan["planned_values"]["root_module"]):
        attribute = _NAMED.get(resource["type"])
        if attribute is not None and not resource["address"].startswith("module.copies"):
            found[resource["type"]].add(resource["values"].get(attribute, "(known after apply)"))
    return found


def _resources(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (found for found in module.get("resources", ()) if found["mode"] == "managed")
    for child in module.get("child_modules", ()):
        yield from _resources(child)


def differences(plan: dict[str, Any]) -> list[str]:
    """What Terraform and the code do not call the same; empty where they agree."""
    values = {name: given["value"] for name, given in plan["variables"].items()}
    names = AwsNames(values["environment"], values["prefix"])
    found = planned(plan)
    said = []
    for kind, wanted in expected(names).items():
        ours = found[kind]
        if values.get("standby") and kind in _NOT_OF_A_STANDBY:
            continue
        if kind == "aws_cloudwatch_log_group":  # services of AWS write to others, below our stem or their own
            ours = ours & wanted.needed
        said += [f"{kind}: expected {name}, was not there" for name in sorted(wanted.needed - ours)]
        unknown = ours - wanted.needed - wanted.allowed
        said += [
            f"{kind}: {name} is a name that autotrader.config.aws_names does not know"
            for name in sorted(unknown)
        ]
    stem = names.secret("")
    said += [
        f"aws_secretsmanager_secret: expected {stem}<name>, was {name}"
        for name in sorted(found["aws_secretsmanager_secret"])
        if not name.startswith(stem)
    ]
    return said


def main() -> int:
    """Print the differences; 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", type=Path)
    said = differences(json.loads(parser.parse_args().plan.read_text()))
    sys.stdout.writelines(f"{line}\n" for line in said)
    return int(bool(said))


if __name__ == "__main__":
    raise SystemExit(main())
