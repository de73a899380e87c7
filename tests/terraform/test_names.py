"""The check of names finds what is called otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from autotrader.config.aws_names import AwsNames
from tests.terraform.names import _NAMED, differences, expected

NAMES = AwsNames("dev", "mine")


def plan(**changes: tuple[str, str | None]) -> dict[str, Any]:
    """A plan with every name as the code has it; changes give, by type, a name and what it is instead."""
    resources = []
    for kind, names in expected(NAMES).items():
        for name in sorted(names.needed):
            was, instead = changes.get(kind, (None, None))
            called = instead if name == was else name
            if called is not None:
                resources.append(resource(kind, called))
    variables = {"environment": {"value": "dev"}, "prefix": {"value": "mine"}}
    module = {"child_modules": [{"resources": resources}]}
    return {"variables": variables, "planned_values": {"root_module": module}}


def resource(kind: str, name: str, address: str = "module.compute.x") -> dict[str, Any]:
    return {"address": address, "mode": "managed", "type": kind, "values": {_NAMED[kind]: name}}


def test_names_as_the_code_has_them_are_right() -> None:
    assert differences(plan()) == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("aws_ecs_cluster", NAMES.cluster),
        ("aws_ecs_service", "trading-green"),
        ("aws_ecs_service", "autotrader-dev-trader"),
        ("aws_ecs_task_definition", "autotrader-dev-serving-blue"),
        ("aws_ecs_task_definition", "autotrader-dev-step"),
        ("aws_lb", NAMES.load_balancer),
        ("aws_lb_target_group", "autotrader-dev-blue"),
        ("aws_db_instance", NAMES.database),
        ("aws_s3_bucket", "mine-backups"),
        ("aws_sns_topic", NAMES.alert_topic()),
    ],
)
def test_what_is_missing_or_called_otherwise_is_named(kind: str, name: str) -> None:
    assert differences(plan(**{kind: (name, None)})) == [f"{kind}: expected {name}, was not there"]
    renamed = f"{name}-too"
    said = differences(plan(**{kind: (name, renamed)}))
    assert f"{kind}: {renamed} is a name that autotrader.config.aws_names does not know" in said
    assert len(said) == 2


def test_what_waits_in_the_dr_region_has_neither_database_nor_buckets_of_its_own() -> None:
    waiting = plan(aws_db_instance=(NAMES.database, None), aws_s3_bucket=("mine-backups", None))
    assert len(differences(waiting)) == 2
    waiting["variables"]["standby"] = {"value": True}
    assert differences(waiting) == []


def test_a_process_without_its_log_group_is_named() -> None:
    missing = "/autotrader/dev/trader"
    said = differences(plan(aws_cloudwatch_log_group=(missing, "/autotrader/dev/traders")))
    assert said == [f"aws_cloudwatch_log_group: expected {missing}, was not there"]


def test_a_secret_is_of_its_environment() -> None:
    made = plan()
    module = made["planned_values"]["root_module"]
    module["resources"] = [
        resource("aws_secretsmanager_secret", name) for name in ("autotrader/dev/mail", "autotrader/mail")
    ]
    assert differences(made) == [
        "aws_secretsmanager_secret: expected autotrader/dev/<name>, was autotrader/mail"
    ]


def test_what_aws_services_log_to_and_copies_elsewhere_are_called_as_they_like() -> None:
    made = plan()
    made["planned_values"]["root_module"]["resources"] = [
        resource("aws_cloudwatch_log_group", "/autotrader/dev/flow"),
        resource("aws_s3_bucket", "mine-dr-data", "module.copies[0].aws_s3_bucket.this"),
    ]
    assert differences(made) == []
