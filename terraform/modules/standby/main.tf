# What a stack in the DR region finds there in place of the module storage: what the primary region copied to it
# (modules/storage/copies). It keeps nothing of its own but where the database will be restored to.
#
# There is no cache: a tier that is down is skipped (SPEC 17).

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  name      = "autotrader-${var.environment}"
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name

  bucket_names = { for name in ["data", "models", "logs", "features", "airflow", "backups"] : name => "${var.prefix}-${name}" }
  secrets = [
    "database-url", "ledger-url", "mlflow-database-url", "redis-url", "serving-token", "metrics-token", "grafana-admin",
    "binance", "oanda", "ibkr", "mail", "pagerduty", "slack",
  ]
}

data "aws_kms_alias" "copies" {
  name = "alias/${local.name}-copies"
}

data "aws_secretsmanager_secret" "copy" {
  for_each = toset(local.secrets)

  name = "autotrader/${var.environment}/${each.key}"
}

# The names that dr_failover.sh restores the database with.
resource "aws_db_subnet_group" "this" {
  name        = local.name
  description = "Subnets without a way out"
  subnet_ids  = var.database_subnet_ids
}

resource "aws_db_parameter_group" "this" {
  name        = "${local.name}-postgres15"
  family      = "postgres15"
  description = "TLS only"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
}
