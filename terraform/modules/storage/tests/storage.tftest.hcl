mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-west-1" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:mock" }
  }
  mock_resource "aws_db_instance" {
    defaults = { arn = "arn:aws:rds:eu-west-1:123456789012:db:autotrader-dev" }
  }
}

variables {
  kms_key_arn         = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  redis_auth_token    = "0123456789abcdef0123456789abcdef01234567" # pragma: allowlist secret
  redis_url_secret_id = "redis-url"
  environment         = "dev"
  prefix              = "acme-dev"
  database_subnet_ids = ["subnet-a", "subnet-b"]
  security_group_ids  = { database = "sg-database", cache = "sg-cache" }
  protect             = false
  backup_days         = 3
  database = {
    instance_class        = "db.t4g.small"
    allocated_storage     = 20
    max_allocated_storage = 100
    multi_az              = false
    backup_days           = 3
    max_connections       = 150
  }
  cache = { node_type = "cache.t4g.micro", nodes = 1 }
}

run "dev_is_small_and_may_be_destroyed" {
  command = plan

  assert {
    condition     = aws_db_instance.this.identifier == "autotrader-dev" && !aws_db_instance.this.multi_az && aws_db_instance.this.backup_retention_period == 3
    error_message = "One zone, three days."
  }
  assert {
    condition     = !aws_db_instance.this.deletion_protection && aws_db_instance.this.skip_final_snapshot
    error_message = "dev is destroyed without asking."
  }
  assert {
    condition     = length(aws_s3_bucket_replication_configuration.this) == 0 && length(aws_ecr_replication_configuration.dr) == 0
    error_message = "Nothing is copied from dev."
  }
}

run "production_is_protected_and_copied" {
  command = plan

  variables {
    environment = "production"
    prefix      = "acme"
    protect     = true
    backup_days = 30
    database = {
      instance_class        = "db.m7g.large"
      allocated_storage     = 100
      max_allocated_storage = 1000
      multi_az              = true
      backup_days           = 30
      max_connections       = 150
    }
    cache = { node_type = "cache.m7g.large", nodes = 2 }
    copies = {
      region      = "eu-central-1"
      kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/11111111-1111-1111-1111-111111111111"
      vault_arn   = "arn:aws:backup:eu-central-1:123456789012:backup-vault:autotrader-production-copies"
      bucket_arns = { for name in ["data", "models", "logs", "features", "airflow", "backups"] : name => "arn:aws:s3:::acme-dr-${name}" }
    }
  }

  assert {
    condition     = aws_db_instance.this.multi_az && aws_db_instance.this.deletion_protection && aws_db_instance.this.backup_retention_period == 30 && !aws_db_instance.this.skip_final_snapshot
    error_message = "Two zones, thirty days, and no deletion."
  }
  assert {
    condition     = aws_elasticache_replication_group.this.automatic_failover_enabled && aws_elasticache_replication_group.this.multi_az_enabled
    error_message = "Redis fails over."
  }
  assert {
    condition     = toset(keys(aws_s3_bucket_replication_configuration.this)) == toset(["data", "models", "logs", "features", "airflow", "backups"])
    error_message = "Every bucket is replicated."
  }
  assert {
    condition     = aws_s3_bucket_replication_configuration.this["data"].rule[0].destination[0].bucket == "arn:aws:s3:::acme-dr-data"
    error_message = "To the bucket of the same name in the DR region."
  }
  assert {
    condition     = one(one(aws_backup_plan.hourly.rule).copy_action).destination_vault_arn == "arn:aws:backup:eu-central-1:123456789012:backup-vault:autotrader-production-copies"
    error_message = "Recovery points are copied to the DR region."
  }
  assert {
    condition     = one(aws_backup_plan.hourly.rule).schedule == "cron(0 * * * ? *)"
    error_message = "Hourly: RPO 1 h."
  }
}

run "stores_are_encrypted_and_closed" {
  command = apply

  assert {
    condition     = aws_db_instance.this.storage_encrypted && !aws_db_instance.this.publicly_accessible && aws_db_instance.this.vpc_security_group_ids == toset(["sg-database"])
    error_message = "RDS: encrypted, private, its own group."
  }
  assert {
    condition     = contains([for parameter in aws_db_parameter_group.this.parameter : "${parameter.name}=${parameter.value}"], "rds.force_ssl=1")
    error_message = "RDS refuses connections without TLS."
  }
  assert {
    condition     = aws_db_instance.this.manage_master_user_password && aws_db_instance.this.password == null
    error_message = "RDS keeps the administrator's password itself."
  }
  assert {
    condition     = aws_elasticache_replication_group.this.transit_encryption_mode == "required" && aws_elasticache_replication_group.this.at_rest_encryption_enabled
    error_message = "Redis: TLS always, encrypted at rest."
  }
  assert {
    condition     = length(aws_elasticache_replication_group.this.auth_token) >= 16
    error_message = "Redis asks for a token."
  }
  assert {
    condition     = aws_secretsmanager_secret_version.redis_url.secret_string == null || aws_secretsmanager_secret_version.redis_url.secret_string == ""
    error_message = "The URL with the token is not in the state."
  }
}

run "tags_of_images_never_move" {
  command = plan

  assert {
    condition     = aws_ecr_repository.this[0].name == "autotrader" && aws_ecr_repository.this[0].image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.this[0].image_scanning_configuration[0].scan_on_push
    error_message = "Immutable and scanned."
  }
}

run "a_second_environment_uses_the_accounts_repository" {
  command = plan

  variables {
    create_repository = false
  }

  assert {
    condition     = length(aws_ecr_repository.this) == 0 && output.ecr_repository_url == "123456789012.dkr.ecr.eu-west-1.amazonaws.com/autotrader"
    error_message = "It names the repository without making it."
  }
}

run "a_backup_longer_than_rds_keeps_is_refused" {
  command = plan

  variables {
    database = {
      instance_class        = "db.t4g.small"
      allocated_storage     = 20
      max_allocated_storage = 100
      multi_az              = false
      backup_days           = 36
      max_connections       = 150
    }
  }

  expect_failures = [var.database]
}

run "a_prefix_that_no_bucket_may_have_is_refused" {
  command = plan

  variables {
    prefix = "Acme_Dev"
  }

  expect_failures = [var.prefix]
}
