mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  prefix          = "acme"
  kms_key_arn     = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  noncurrent_days = 30
  force_destroy   = false
}

run "buckets_are_named_as_the_code_names_them" {
  command = plan

  assert {
    condition     = toset([for bucket in aws_s3_bucket.this : bucket.bucket]) == toset(["acme-data", "acme-models", "acme-logs", "acme-features", "acme-airflow", "acme-backups"])
    error_message = "<prefix>-<name>: AwsNames.bucket."
  }
}

run "every_bucket_is_versioned_closed_and_of_tls_alone" {
  command = plan

  assert {
    condition     = alltrue([for versioning in aws_s3_bucket_versioning.this : versioning.versioning_configuration[0].status == "Enabled"])
    error_message = "Versioned."
  }
  assert {
    condition = alltrue([for block in aws_s3_bucket_public_access_block.this :
    block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets])
    error_message = "Closed to the public."
  }
  assert {
    condition = alltrue([for policy in aws_s3_bucket_policy.this :
    jsondecode(policy.policy).Statement[0].Effect == "Deny" && jsondecode(policy.policy).Statement[0].Condition.Bool["aws:SecureTransport"] == "false"])
    error_message = "Refused without TLS."
  }
  assert {
    condition     = length(aws_s3_bucket_policy.this) == 6 && length(aws_s3_bucket_logging.this) == 5
    error_message = "Six policies; access is logged of all but the bucket of logs."
  }
}

run "all_but_logs_are_encrypted_with_the_key" {
  command = plan

  assert {
    condition = toset([for name, config in aws_s3_bucket_server_side_encryption_configuration.this : name
    if one(one(config.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"]) == toset(["data", "models", "features", "airflow", "backups"])
    error_message = "SSE-KMS, but for the bucket that load balancers and S3 deliver to."
  }
}

run "the_lake_is_never_expired_by_a_rule" {
  command = plan

  assert {
    condition = alltrue(flatten([for name in ["data", "models", "features"] :
    [for rule in aws_s3_bucket_lifecycle_configuration.this[name].rule : length(rule.expiration) == 0]]))
    error_message = "Only versions that were overwritten or deleted expire."
  }
  assert {
    condition = [for rule in aws_s3_bucket_lifecycle_configuration.this["airflow"].rule :
    rule.filter[0].prefix if length(rule.expiration) > 0] == ["steps/"]
    error_message = "Of Airflow's bucket what steps were asked and answered, never DAGs or requirements."
  }
}
