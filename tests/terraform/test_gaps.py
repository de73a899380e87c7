"""The local AWS answers what Terraform's provider asks for and moto alone lacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.services import AWS_ENVIRONMENT, local_aws

pytestmark = pytest.mark.component

Client = Callable[..., Any]


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a service, in eu-west-1 unless told otherwise."""
    with pytest.MonkeyPatch.context() as patch, local_aws(tmp_path_factory.mktemp("aws")) as url:
        for name, value in AWS_ENVIRONMENT.items():
            patch.setenv(name, value)

        def client(service: str, region: str = "eu-west-1") -> Any:
            return boto3.client(service, region_name=region, endpoint_url=url)  # type: ignore[call-overload]

        yield client


def test_a_backup_plan_has_tags_and_selections_and_outlives_none_of_them(aws: Client) -> None:
    backup = aws("backup")
    plan = backup.create_backup_plan(
        BackupPlan={"BackupPlanName": "p", "Rules": [{"RuleName": "r", "TargetBackupVaultName": "v"}]},
        BackupPlanTags={"Project": "x"},
    )
    assert backup.list_tags(ResourceArn=plan["BackupPlanArn"])["Tags"] == {"Project": "x"}
    within = {"BackupPlanId": plan["BackupPlanId"]}
    asked = {"SelectionName": "s", "IamRoleArn": "arn:aws:iam::123456789012:role/b", "Resources": ["*"]}
    made = backup.create_backup_selection(**within, BackupSelection=asked)["SelectionId"]
    assert backup.get_backup_selection(**within, SelectionId=made)["BackupSelection"] == asked
    with pytest.raises(ClientError, match="must be deleted before"):
        backup.delete_backup_plan(**within)
    backup.delete_backup_selection(**within, SelectionId=made)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        backup.get_backup_selection(**within, SelectionId=made)
    backup.delete_backup_plan(**within)
    backup.create_backup_vault(BackupVaultName="v")
    assert backup.list_recovery_points_by_backup_vault(BackupVaultName="v")["RecoveryPoints"] == []


def test_rules_of_security_groups_keep_their_descriptions(aws: Client) -> None:
    ec2 = aws("ec2")
    group = ec2.create_security_group(GroupName="g", Description="g")["GroupId"]
    port = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
    ec2.authorize_security_group_ingress(
        GroupId=group,
        IpPermissions=[{**port, "UserIdGroupPairs": [{"GroupId": group, "Description": "from itself"}]}],
    )
    ec2.authorize_security_group_egress(
        GroupId=group,
        IpPermissions=[{**port, "PrefixListIds": [{"PrefixListId": "pl-1", "Description": "to S3"}]}],
    )
    found = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])
    assert {"from itself", "to S3"} <= {rule.get("Description") for rule in found["SecurityGroupRules"]}


def test_a_zone_that_is_made_in_a_network_is_private_there(aws: Client) -> None:
    network = {"VPCRegion": "eu-west-1", "VPCId": "vpc-1"}
    made = aws("route53").create_hosted_zone(Name="a.internal", CallerReference="1", VPC=network)
    found = aws("route53").get_hosted_zone(Id=made["HostedZone"]["Id"])
    assert found["HostedZone"]["Config"]["PrivateZone"]
    assert found["VPCs"] == [network]


def test_a_policy_of_tls_alone_lets_the_local_http_through_and_another_deny_refuses(aws: Client) -> None:
    s3, everything = aws("s3"), {"Effect": "Deny", "Principal": "*", "Action": "s3:*"}
    s3.create_bucket(Bucket="closed", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    tls = {
        **everything,
        "Resource": "arn:aws:s3:::closed/*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket="closed", Policy=json.dumps({"Version": "2012-10-17", "Statement": [tls]}))
    s3.put_object(Bucket="closed", Key="k", Body=b"x")
    closed = {**everything, "Resource": "arn:aws:s3:::closed/secret/*"}
    s3.put_bucket_policy(
        Bucket="closed", Policy=json.dumps({"Version": "2012-10-17", "Statement": [tls, closed]})
    )
    s3.put_object(Bucket="closed", Key="k", Body=b"x")
    with pytest.raises(ClientError, match="403"):
        s3.put_object(Bucket="closed", Key="secret/k", Body=b"x")


def test_an_instance_of_rds_says_what_it_was_asked_for(aws: Client) -> None:
    rds = aws("rds")
    rds.create_db_parameter_group(
        DBParameterGroupName="g", DBParameterGroupFamily="postgres15", Description="g"
    )
    rds.modify_db_parameter_group(
        DBParameterGroupName="g",
        Parameters=[{"ParameterName": "p", "ParameterValue": "1", "ApplyMethod": "immediate"}],
    )
    assert rds.describe_db_parameters(DBParameterGroupName="g")["Parameters"][0]["Source"] == "user"
    made = rds.create_db_instance(
        DBInstanceIdentifier="d", DBInstanceClass="db.t4g.small", Engine="postgres", MasterUsername="a",
        MasterUserPassword="password", EnablePerformanceInsights=True, PerformanceInsightsKMSKeyId="key",
    )["DBInstance"]  # fmt: skip
    assert made["PerformanceInsightsEnabled"]
    assert made["PerformanceInsightsKMSKeyId"] == "key"
    assert made["PerformanceInsightsRetentionPeriod"] == 7
    assert made["CACertificateIdentifier"] == "rds-ca-rsa2048-g1"


def test_a_cache_has_members_and_is_gone_once_deleted(aws: Client) -> None:
    cache = aws("elasticache")
    cache.create_replication_group(
        ReplicationGroupId="c", ReplicationGroupDescription="c", Engine="redis", EngineVersion="7.1",
        CacheNodeType="cache.t4g.micro", NumCacheClusters=1, TransitEncryptionEnabled=True,
        TransitEncryptionMode="required", AuthToken="a" * 20,
    )  # fmt: skip
    [name] = cache.describe_replication_groups(ReplicationGroupId="c")["ReplicationGroups"][0][
        "MemberClusters"
    ]
    [member] = cache.describe_cache_clusters(CacheClusterId=name)["CacheClusters"]
    assert member["TransitEncryptionMode"] == "required"
    cache.delete_replication_group(ReplicationGroupId="c")
    with pytest.raises(ClientError, match="NotFound"):
        cache.describe_replication_groups(ReplicationGroupId="c")


def test_a_service_remembers_its_settings_and_a_scalable_target_its_tags(aws: Client) -> None:
    ecs, scaling = aws("ecs"), aws("application-autoscaling")
    ecs.create_cluster(clusterName="c")
    ecs.register_task_definition(
        family="f", containerDefinitions=[{"name": "n", "image": "i", "memory": 128}]
    )
    ecs.create_service(
        cluster="c", serviceName="s", taskDefinition="f", desiredCount=0,
        availabilityZoneRebalancing="ENABLED", healthCheckGracePeriodSeconds=120,
    )  # fmt: skip
    [found] = ecs.describe_services(cluster="c", services=["s"])["services"]
    assert found["availabilityZoneRebalancing"] == "ENABLED"
    assert found["healthCheckGracePeriodSeconds"] == 120
    arn = scaling.register_scalable_target(
        ServiceNamespace="ecs", ResourceId="service/c/s", ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=0, MaxCapacity=2, Tags={"Project": "x"},
    )["ScalableTargetARN"]  # fmt: skip
    scaling.tag_resource(ResourceARN=arn, Tags={"More": "y"})
    scaling.untag_resource(ResourceARN=arn, TagKeys=["Project"])
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"More": "y"}


def test_the_policy_of_a_file_system_can_be_deleted(aws: Client) -> None:
    efs = aws("efs")
    name = efs.create_file_system(CreationToken="t")["FileSystemId"]
    efs.put_file_system_policy(FileSystemId=name, Policy="{}")
    efs.delete_file_system_policy(FileSystemId=name)
    with pytest.raises(ClientError, match="PolicyNotFound"):
        efs.describe_file_system_policy(FileSystemId=name)


def test_the_policy_of_a_secret_is_that_of_its_copy(aws: Client) -> None:
    here, there = aws("secretsmanager"), aws("secretsmanager", "eu-central-1")
    here.create_secret(Name="p", SecretString="x", AddReplicaRegions=[{"Region": "eu-central-1"}])
    assert "ResourcePolicy" not in there.get_resource_policy(SecretId="p")
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    here.put_resource_policy(SecretId="p", ResourcePolicy=policy)
    assert there.get_resource_policy(SecretId="p")["ResourcePolicy"] == policy


def test_a_copy_of_a_secret_can_be_written_once_it_is_a_secret_of_its_own(aws: Client) -> None:
    here, there = aws("secretsmanager"), aws("secretsmanager", "eu-central-1")
    here.create_secret(Name="s", SecretString="first", AddReplicaRegions=[{"Region": "eu-central-1"}])
    with pytest.raises(ClientError, match="replica"):
        there.put_secret_value(SecretId="s", SecretString="second")
    there.stop_replication_to_replica(SecretId="s")
    there.put_secret_value(SecretId="s", SecretString="second")
    assert there.get_secret_value(SecretId="s")["SecretString"] == "second"
    assert here.get_secret_value(SecretId="s")["SecretString"] == "first"
    assert "PrimaryRegion" not in there.describe_secret(SecretId="s")
