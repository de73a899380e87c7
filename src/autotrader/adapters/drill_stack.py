"""What Terraform would have made, for a drill against a stand-in for AWS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotrader.adapters.aws import aws_errors, client
from autotrader.config.aws_names import AwsNames
from autotrader.config.settings import AwsSettings

_US_EAST_1 = "us-east-1"  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
_NOBODY = "192.0.2."  # documentation addresses: nothing is behind them


def make_bucket(aws: AwsSettings, bucket: str, region: str) -> None:
    where = {} if region == _US_EAST_1 else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    with aws_errors(f"make bucket {bucket}"):
        client(aws, "s3", region=region).create_bucket(Bucket=bucket, **where)


def make_cluster(
    aws: AwsSettings, names: AwsNames, region: str, *, services: Mapping[str, str], tasks: int
) -> None:
    """A cluster with its services, each of its task family.

    Parameters
    ----------
    services : Mapping[str, str]
        Name of the service to its task family.
    tasks : int
        That each is to have.
    """
    ecs = client(aws, "ecs", region=region)
    with aws_errors(f"make cluster {names.cluster} in {region}"):
        ecs.create_cluster(clusterName=names.cluster)
        for service, family in services.items():
            ecs.register_task_definition(
                family=family,
                containerDefinitions=[{"name": "main", "image": "drill", "memory": 128, "environment": []}],
            )
            ecs.create_service(
                cluster=names.cluster, serviceName=service, taskDefinition=family, desiredCount=tasks
            )


def make_network(aws: AwsSettings, names: AwsNames, region: str) -> None:
    """What a database that is restored needs around it."""
    ec2, rds = client(aws, "ec2", region=region), client(aws, "rds", region=region)
    with aws_errors(f"make a network in {region}"):
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"{region}{zone}")
            for n, zone in enumerate("ab")
        ]
        ec2.create_security_group(GroupName=f"{names.database}-database", Description="drill", VpcId=vpc)
        rds.create_db_subnet_group(
            DBSubnetGroupName=names.database,
            DBSubnetGroupDescription="drill",
            SubnetIds=[subnet["Subnet"]["SubnetId"] for subnet in subnets],
        )


def make_database(aws: AwsSettings, names: AwsNames, region: str) -> None:
    """An instance by the name of the environment; behind it is nothing."""
    with aws_errors(f"make database {names.database} in {region}"):
        client(aws, "rds", region=region).create_db_instance(
            DBInstanceIdentifier=names.database,
            DBInstanceClass="db.t4g.micro",
            Engine="postgres",
            AllocatedStorage=20,
            MasterUsername="drill",
            ManageMasterUserPassword=True,
        )


def make_vault(aws: AwsSettings, name: str, region: str) -> None:
    """Of recovery points."""
    with aws_errors(f"make vault {name} in {region}"):
        client(aws, "backup", region=region).create_backup_vault(BackupVaultName=name)


def copy_snapshot(aws: AwsSettings, names: AwsNames, *, source: str, target: str) -> None:
    """As AWS Backup does every hour: a recovery point in the source region, its copy in the other."""
    backup, rds = client(aws, "backup", region=source), client(aws, "rds", region=source)
    with aws_errors(f"back {names.database} up in {source}"):
        database = rds.describe_db_instances(DBInstanceIdentifier=names.database)["DBInstances"][0]
        role = f"arn:aws:iam::{database['DBInstanceArn'].split(':')[4]}:role/drill"
        point = backup.start_backup_job(
            BackupVaultName=names.database, ResourceArn=database["DBInstanceArn"], IamRoleArn=role
        )["RecoveryPointArn"]
    with aws_errors(f"copy the backup to {target}"):
        vault = client(aws, "backup", region=target).describe_backup_vault(BackupVaultName=names.copies_vault)
        backup.start_copy_job(
            RecoveryPointArn=point,
            SourceBackupVaultName=names.database,
            DestinationBackupVaultArn=vault["BackupVaultArn"],
            IamRoleArn=role,
        )


def make_secret(aws: AwsSettings, region: str, name: str, value: str) -> None:
    secrets = client(aws, "secretsmanager", region=region)
    with aws_errors(f"make secret {name} in {region}"):
        if any(found["Name"] == name for found in secrets.list_secrets()["SecretList"]):
            secrets.put_secret_value(SecretId=name, SecretString=value)
        else:
            secrets.create_secret(Name=name, SecretString=value)


def make_topic(aws: AwsSettings, region: str, name: str) -> None:
    with aws_errors(f"make topic {name} in {region}"):
        client(aws, "sns", region=region).create_topic(Name=name)


def make_failover_records(aws: AwsSettings, zone: str, *, primary: str, secondary: str) -> None:
    """A hosted zone with one name that leads to the first region, and to the second if that is down."""
    route53: Any = client(aws, "route53", region=primary)
    roles = (("PRIMARY", primary), ("SECONDARY", secondary))
    with aws_errors(f"make hosted zone {zone}"):
        made = route53.create_hosted_zone(Name=zone, CallerReference=zone)["HostedZone"]["Id"]
        changes = [
            {
                "Action": "CREATE",
                "ResourceRecordSet": {
                    "Name": f"api.{zone}",
                    "Type": "A",
                    "TTL": 60,
                    "SetIdentifier": region,
                    "Failover": role,
                    "ResourceRecords": [{"Value": f"{_NOBODY}{number}"}],
                },
            }
            for number, (role, region) in enumerate(roles, start=1)
        ]
        route53.change_resource_record_sets(HostedZoneId=made, ChangeBatch={"Changes": changes})
