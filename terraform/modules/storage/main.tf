# What keeps something: buckets/ and replication.tf (S3), database.tf, cache.tf, images.tf, backup.tf. The root calls, before
# this, key/ (KMS), copies/ (what stands in the DR region, with that region's provider), secrets/ and values/.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  name      = "autotrader-${var.environment}"
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name

  copies = var.copies == null ? 0 : 1
}
