"""RDS: Performance Insights and certificate of an instance; whose a parameter is that was set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from moto.rds.models import DBInstance, DBParameterGroup

# What AWS gives where none is asked for; moto's own would be changed at once, which takes the provider 80 s.
_CERTIFICATE = "rds-ca-rsa2048-g1"


def patch() -> None:
    _make_instances_as_asked()
    _tell_whose_parameters_are()


def _make_instances_as_asked() -> None:
    made = DBInstance.__init__

    def init(self: Any, *words: Any, **given: Any) -> None:
        made(self, *words, **{"ca_certificate_identifier": _CERTIFICATE, **given})
        self.performance_insights_enabled = bool(given.get("enable_performance_insights"))
        if self.performance_insights_enabled:
            self.performance_insights_kms_key_id = given.get("performance_insights_kms_key_id")
            self.performance_insights_retention_period = given.get("performance_insights_retention_period", 7)

    DBInstance.__init__ = init  # type: ignore[method-assign]


def _tell_whose_parameters_are() -> None:
    updated = DBParameterGroup.update_parameters

    def update_parameters(self: Any, new_parameters: Iterable[dict[str, Any]]) -> None:
        updated(self, [{**parameter, "Source": "user"} for parameter in new_parameters])

    DBParameterGroup.update_parameters = update_parameters  # type: ignore[method-assign]
