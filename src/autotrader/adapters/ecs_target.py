"""The colours as services of an ECS cluster behind one internal load balancer."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import httpx

from autotrader.adapters.aws import client
from autotrader.adapters.ecs_front_door import HEALTHY, FrontDoor
from autotrader.adapters.ecs_services import DIGEST, URI, VERSION, ColourServices, ServiceState
from autotrader.config.aws_names import AwsNames
from autotrader.config.settings import AwsSettings, Settings
from autotrader.domain.errors import AutotraderError
from autotrader.domain.rollout import Color
from autotrader.ports.deployment import Release, ReleaseStore, SlotHealth
from autotrader.ports.predictions import COLOR_HEADER

HEALTH_SECONDS = 2.0
# For calls that are made again soon: the controller waits for them while it supervises.
BRISK_SECONDS = 3.0


class EcsTarget:
    """Runs a service a colour; what runs is read from AWS, never remembered.

    Services, task definitions, target groups and listener are Terraform's. A deployment changes a
    service's task definition and desired count and the listener's default weights, and nothing else.

    Parameters
    ----------
    settings : Settings
    releases : ReleaseStore
        Where tasks fetch from.
    """

    def __init__(self, settings: Settings, releases: ReleaseStore) -> None:
        self._aws = settings.aws
        self._endpoint_set = settings.deployment.ecs_endpoint
        self._names = AwsNames.of(settings)
        self._releases = releases
        self._endpoint_found: str | None = None
        self._client = httpx.Client(timeout=HEALTH_SECONDS, trust_env=False)

    def start(self, color: Color, release: Release) -> str:
        uri = self._releases.put(release)
        environment = {URI: uri, VERSION: release.version, DIGEST: release.onnx_sha256}
        self._services.run(color, environment)
        return self._endpoint()

    def health(self, color: Color) -> SlotHealth:
        """What the service says of itself through the load balancer; where that is not well, AWS's word too.

        Where AWS cannot be asked, the service's own word stands, and the reason says so.
        """
        said = self._ask(color)
        try:
            return self._judged(color, said)
        except AutotraderError as error:
            return replace(said, reason=f"{said.reason}; beyond that, {error}")

    def stop(self, color: Color) -> None:
        self._services.stop(color)

    def sends_elsewhere(self, color: Color) -> str | None:
        return self._door.sends_elsewhere(color)

    def point(self, color: Color) -> None:
        self._door.point(color)

    @cached_property
    def _services(self) -> ColourServices:
        return ColourServices(client(self._aws, "ecs"), self._names)

    @cached_property
    def _seen_services(self) -> ColourServices:
        return ColourServices(client(self._brisk, "ecs"), self._names)

    @cached_property
    def _door(self) -> FrontDoor:
        return FrontDoor(client(self._brisk, "elbv2"), self._names)

    @property
    def _brisk(self) -> AwsSettings:
        patience = min(BRISK_SECONDS, self._aws.timeout_seconds)
        return self._aws.model_copy(update={"attempts": 1, "timeout_seconds": patience})

    def _endpoint(self) -> str:
        if self._endpoint_set is not None:
            return self._endpoint_set
        if self._endpoint_found is None:
            self._endpoint_found = self._door.endpoint()
        return self._endpoint_found

    def _ask(self, color: Color) -> SlotHealth:
        try:
            url = f"{self._endpoint()}/health"
        except AutotraderError as error:
            return _silent(f"nobody knows where {color} answers: {error}")
        try:
            answer = self._client.get(url, headers={COLOR_HEADER: color.value})
            said = answer.json()
            answered_by, version = said["color"], said["version"]
            ready, memory = answer.is_success and bool(said["ready"]), said.get("memory_bytes")
            reason = str(said.get("reason") or said["status"])
        except httpx.TransportError as error:
            self._endpoint_found = None  # the load balancer may have been made anew
            return _silent(f"{url} did not answer within {HEALTH_SECONDS:g} s ({error})")
        except (ValueError, KeyError, TypeError, AttributeError):
            shown = " ".join(answer.text.split())[:200]
            return _silent(
                f"{url} did not answer for {color} as a prediction service: {answer.status_code} {shown}"
            )
        if answered_by != color:
            return _silent(f"expected {color} at {url}, was {answered_by}")
        return SlotHealth(
            live=bool(said["live"]), ready=ready, version=version, reason=reason, memory_bytes=memory
        )

    def _judged(self, color: Color, said: SlotHealth) -> SlotHealth:
        state = self._seen_services.state(color)
        if state is None:
            return _silent(f"no service {self._names.colour_service(color.value)} in {self._names.cluster}")
        if state.desired == 0:
            ending = f": {state.running} tasks are ending" if state.running else ""
            return _silent(f"nothing runs in {color}{ending}")
        if said.ready and said.version == state.newest.version and not self._may_be_another(color, state):
            return said
        misdirection = self._door.misdirection(color)
        if misdirection is not None:
            return replace(said, live=state.running > 0, ready=False, reason=misdirection)
        targets = ", ".join(self._door.targets(color)) or "none"
        told = [said.reason, str(state), f"targets: {targets}"]
        if state.newest.running < state.desired:
            told += self._seen_services.why_stopped(color)
        return replace(said, ready=False, reason="; ".join(told))

    def _may_be_another(self, color: Color, state: ServiceState) -> bool:
        """Whether the next request may be answered by a version that is being replaced.

        A task that is ended finishes what it was asked, for minutes perhaps, but gets nothing new once
        its target is not healthy any more.
        """
        return state.is_mixed and self._door.targets(color).count(HEALTHY) > state.newest.running


def _silent(reason: str) -> SlotHealth:
    return SlotHealth(live=False, ready=False, version=None, reason=reason)
