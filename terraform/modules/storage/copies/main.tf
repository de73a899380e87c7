# What the DR region holds while the primary region works: a key, replicas of the buckets, a vault of database backups.
# The module is called with the provider of the DR region; it is called in production alone.

data "aws_region" "current" {}

locals {
  name = "autotrader-${var.environment}"
}

module "key" {
  source = "../key"

  environment = var.environment
  alias       = "${local.name}-copies"
  description = "Copies of what ${local.name} keeps, and what a standby keeps here"
}

# The standby's prefix is this, so that it finds its buckets by the usual names.
module "buckets" {
  source = "../buckets"

  prefix          = "${var.prefix}-dr"
  kms_key_arn     = module.key.arn
  noncurrent_days = var.backup_days
  force_destroy   = !var.protect
}

resource "aws_backup_vault" "this" {
  name          = "${local.name}-copies"
  kms_key_arn   = module.key.arn
  force_destroy = !var.protect
}
