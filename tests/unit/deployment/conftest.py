"""A second version that has replaced the first."""

from __future__ import annotations

import pytest

from tests.unit.deployment.doubles import Deployment
from tests.unit.deployment.test_controller import begin


@pytest.fixture
def live() -> Deployment:
    """The second version is live on green, the first is warm on blue."""
    deployment = Deployment()
    for version in deployment.versions[:2]:
        begin(deployment, version)
        deployment.run()
    return deployment
