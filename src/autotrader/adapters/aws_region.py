"""One region of AWS as a failover sees it: services, buckets, secrets, names and a bell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autotrader.adapters.aws import aws_errors, client
from autotrader.config.aws_names import AwsNames
from autotrader.config.settings import AwsSettings
from autotrader.domain.errors import NotFound, Rejected


@dataclass(frozen=True, slots=True)
class ServiceCount:
    """How many tasks a service is to have, and has."""

    desired: int
    running: int


@dataclass(frozen=True, slots=True)
class FailoverPair:
    """The two records of one name.

    Attributes
    ----------
    primary, secondary : dict
        As Route 53 keeps them; `SetIdentifier` is the region.
    """

    zone_id: str
    primary: Any
    secondary: Any


class Region:
    """What lives in one region, under the names of one environment.

    Parameters
    ----------
    aws : AwsSettings
    names : AwsNames
        Whose prefix is that of the region's buckets.
    region : str
    """

    def __init__(self, aws: AwsSettings, names: AwsNames, region: str) -> None:
        self.name = region
        self.names = names
        self._ecs: Any = client(aws, "ecs", region=region)
        self._s3: Any = client(aws, "s3", region=region)
        self._secrets: Any = client(aws, "secretsmanager", region=region)
        self._route53: Any = client(aws, "route53", region=region)
        self._sns: Any = client(aws, "sns", region=region)

    def require_cluster(self) -> None:
        """Raise NotFound unless the cluster is active."""
        with aws_errors(f"look at cluster {self.names.cluster} in {self.name}"):
            found = self._ecs.describe_clusters(clusters=[self.names.cluster])["clusters"]
        if not any(cluster["status"] == "ACTIVE" for cluster in found):
            raise NotFound(
                f"expected a cluster {self.names.cluster} in {self.name}, was none: terraform apply makes it"
            )

    def service(self, name: str) -> ServiceCount | None:
        """None where there is no such service."""
        try:
            with aws_errors(f"look at service {name} in {self.name}"):
                found = self._ecs.describe_services(cluster=self.names.cluster, services=[name])["services"]
        except NotFound:  # no such cluster
            return None
        active = next((service for service in found if service["status"] == "ACTIVE"), None)
        return ServiceCount(active["desiredCount"], active["runningCount"]) if active else None

    def environment_of(self, name: str) -> dict[str, str]:
        """What the first container of the service's task definition is told."""
        with aws_errors(f"look at what service {name} in {self.name} runs"):
            found = self._ecs.describe_services(cluster=self.names.cluster, services=[name])["services"][0]
            definition = self._ecs.describe_task_definition(taskDefinition=found["taskDefinition"])
        container = definition["taskDefinition"]["containerDefinitions"][0]
        return {pair["name"]: pair["value"] for pair in container.get("environment", [])}

    def scale(self, name: str, tasks: int) -> None:
        with aws_errors(f"scale service {name} in {self.name} to {tasks}"):
            self._ecs.update_service(cluster=self.names.cluster, service=name, desiredCount=tasks)

    def has_definition(self, family: str) -> bool:
        try:
            with aws_errors(f"look at task definition {family} in {self.name}"):
                self._ecs.describe_task_definition(taskDefinition=family)
        except (NotFound, Rejected):  # it says ClientException for one that is not there
            return False
        return True

    def has_bucket(self, bucket: str) -> bool:
        try:
            with aws_errors(f"look at bucket {bucket}"):
                self._s3.head_bucket(Bucket=bucket)
        except NotFound:
            return False
        return True

    def read_secret(self, name: str) -> str | None:
        try:
            with aws_errors(f"read secret {name} in {self.name}"):
                return str(self._secrets.get_secret_value(SecretId=name)["SecretString"])
        except NotFound:
            return None

    def write_secret(self, name: str, value: str) -> None:
        """A copy of another region's secret becomes a secret of its own before: copies are read-only."""
        with aws_errors(f"write secret {name} in {self.name}"):
            primary = self._secrets.describe_secret(SecretId=name).get("PrimaryRegion", self.name)
            if primary != self.name:
                self._secrets.stop_replication_to_replica(SecretId=name)
            self._secrets.put_secret_value(SecretId=name, SecretString=value)

    def failover_pairs(self, zone: str) -> Sequence[FailoverPair]:
        """Of a hosted zone, the names that have a record for each of two regions.

        Raises
        ------
        NotFound
            If there is no such zone.
        """
        with aws_errors(f"look for hosted zone {zone}"):
            zones = self._route53.list_hosted_zones_by_name(DNSName=zone)["HostedZones"]
            found = next((z["Id"] for z in zones if z["Name"].rstrip(".") == zone.rstrip(".")), None)
        if found is None:
            raise NotFound(f"expected a hosted zone {zone}, was none: see AUTOTRADER_AWS__HOSTED_ZONE")
        records: dict[tuple[str, str], dict[str, Any]] = {}
        pages = self._route53.get_paginator("list_resource_record_sets")
        with aws_errors(f"list records of {zone}"):
            for page in pages.paginate(HostedZoneId=found):
                for record in page["ResourceRecordSets"]:
                    if role := record.get("Failover"):
                        records.setdefault((record["Name"], record["Type"]), {})[role] = record
        return [
            FailoverPair(found, pair["PRIMARY"], pair["SECONDARY"])
            for pair in records.values()
            if len(pair) == len(("PRIMARY", "SECONDARY"))
        ]

    def turn_round(self, pair: FailoverPair) -> None:
        """Make the secondary record the primary one and the other way round, as one change."""
        turned = (
            {**pair.secondary, "Failover": "PRIMARY"},
            {**pair.primary, "Failover": "SECONDARY"},
        )
        changes = [{"Action": "DELETE", "ResourceRecordSet": old} for old in (pair.primary, pair.secondary)]
        changes += [{"Action": "UPSERT", "ResourceRecordSet": new} for new in turned]
        with aws_errors(f"turn round the records of {pair.primary['Name']}"):
            self._route53.change_resource_record_sets(
                HostedZoneId=pair.zone_id, ChangeBatch={"Comment": "region failover", "Changes": changes}
            )

    def ring(self, subject: str, message: str) -> bool:
        """Tell the topic of alerts; False where there is none."""
        wanted = self.names.alert_topic()
        pages = self._sns.get_paginator("list_topics")
        with aws_errors(f"tell {wanted}"):
            for page in pages.paginate():
                for topic in page["Topics"]:
                    if topic["TopicArn"].rpartition(":")[2] == wanted:
                        self._sns.publish(TopicArn=topic["TopicArn"], Subject=subject[:100], Message=message)
                        return True
        return False
