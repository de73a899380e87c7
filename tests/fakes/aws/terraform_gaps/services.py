"""ECS: what a service says of itself. Application Auto Scaling: tags."""

from __future__ import annotations

import json
from typing import Any

from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.ecs.responses import EC2ContainerServiceResponse


def patch() -> None:
    _remember_settings_of_services()
    _add_tags_of_targets()


def _remember_settings_of_services() -> None:
    created = EC2ContainerServiceResponse.create_service

    def create_service(self: Any) -> Any:
        result = created(self)
        service = result.result["service"]
        service.availability_zone_rebalancing = self._get_param("availabilityZoneRebalancing") or "DISABLED"
        service.health_check_grace_period_seconds = self._get_param("healthCheckGracePeriodSeconds")
        return result

    EC2ContainerServiceResponse.create_service = create_service  # type: ignore[method-assign]


def _add_tags_of_targets() -> None:
    def tags(self: Any) -> dict[str, str]:
        backend = self.applicationautoscaling_backend
        if not hasattr(backend, "tags_by_arn"):
            backend.tags_by_arn = {}
        found: dict[str, str] = backend.tags_by_arn.setdefault(self._get_param("ResourceARN"), {})
        return found

    registered = ApplicationAutoScalingResponse.register_scalable_target

    def register_scalable_target(self: Any) -> Any:
        said = registered(self)
        given = self._get_param("Tags")
        if given:
            backend = self.applicationautoscaling_backend
            backend.tags_by_arn = {
                **getattr(backend, "tags_by_arn", {}),
                json.loads(said)["ScalableTargetARN"]: given,
            }
        return said

    def list_tags_for_resource(self: Any) -> str:
        return json.dumps({"Tags": tags(self)})

    def tag_resource(self: Any) -> str:
        tags(self).update(self._get_param("Tags"))
        return "{}"

    def untag_resource(self: Any) -> str:
        for name in self._get_param("TagKeys"):
            tags(self).pop(name, None)
        return "{}"

    for action in (register_scalable_target, list_tags_for_resource, tag_resource, untag_resource):
        setattr(ApplicationAutoScalingResponse, action.__name__, action)
