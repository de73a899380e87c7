"""Which two regions there are, and what the buckets of each are called."""

from __future__ import annotations

from autotrader.config.aws_names import AwsNames
from autotrader.config.settings import Settings
from autotrader.domain.errors import ConfigurationError

# As `terraform/modules/storage` names the replicas: a standby stack with this prefix finds them.
_STANDBY = "-dr"


def other_region(settings: Settings, region: str) -> str:
    """The one of the two that this is not.

    Raises
    ------
    ConfigurationError
        If it is neither, or only one is set.
    """
    aws = settings.aws
    if aws.region is None or aws.dr_region is None or aws.region == aws.dr_region:
        raise ConfigurationError(
            "expected two regions, AUTOTRADER_AWS__REGION (home) and AUTOTRADER_AWS__DR_REGION, was "
            f"{aws.region} and {aws.dr_region}"
        )
    if region not in (aws.region, aws.dr_region):
        raise ConfigurationError(f"expected region {aws.region} or {aws.dr_region}, was {region}")
    return aws.dr_region if region == aws.region else aws.region


def names_in(settings: Settings, region: str) -> AwsNames:
    """What things are called in the region."""
    prefix = settings.aws.prefix + ("" if region == settings.aws.region else _STANDBY)
    return AwsNames(settings.environment.value, prefix)


def settings_in(settings: Settings, region: str) -> Settings:
    """The settings of a process of that region."""
    aws = settings.aws.model_copy(update={"region": region, "prefix": names_in(settings, region).prefix})
    return settings.model_copy(update={"aws": aws})
