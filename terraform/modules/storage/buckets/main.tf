# The six buckets of one region: src/autotrader/config/aws_names.py says what they are called.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition

  names = toset(["data", "models", "logs", "features", "airflow", "backups"])
  arns  = { for name in local.names : name => "arn:${local.partition}:s3:::${var.prefix}-${name}" }

  # Days until what is read seldom moves to a cheaper class, and until it is deleted. Lake, features and models are
  # deleted by the platform alone (vacuum, retention): no rule here knows which model version or table needs a file.
  transitions = {
    data    = [{ prefix = "archive/", days = 90, class = "STANDARD_IA" }]
    backups = [{ prefix = "", days = 30, class = "STANDARD_IA" }]
    logs    = [{ prefix = "", days = 30, class = "STANDARD_IA" }]
  }
  expirations = {
    logs    = { prefix = "", days = 400 }
    backups = { prefix = "", days = 400 }
    airflow = { prefix = "steps/", days = 30 } # keys and outcomes of steps, read within a run
  }
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18:all but the bucket of logs itself, see aws_s3_bucket_logging
  #checkov:skip=CKV_AWS_144:replicated to the DR region in production, by the module storage, which knows both regions
  #checkov:skip=CKV_AWS_145:all but the bucket of logs, to which load balancers and S3 itself cannot deliver under a key of ours
  #checkov:skip=CKV2_AWS_62:nothing waits for an object: pipelines run by the clock and by hand (SPEC 4)
  for_each = local.names

  bucket        = "${var.prefix}-${each.key}"
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.names

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = local.names

  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = local.names

  bucket = aws_s3_bucket.this[each.key].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.names

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    # A load balancer and S3 itself can deliver their logs to a bucket of SSE-S3 only:
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
    bucket_key_enabled = each.key != "logs"

    apply_server_side_encryption_by_default {
      sse_algorithm     = each.key == "logs" ? "AES256" : "aws:kms"
      kms_master_key_id = each.key == "logs" ? null : var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_logging" "this" {
  for_each = setsubtract(local.names, ["logs"])

  bucket        = aws_s3_bucket.this[each.key].id
  target_bucket = aws_s3_bucket.this["logs"].id
  target_prefix = "s3/${each.key}/"

  depends_on = [aws_s3_bucket_policy.this]
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = local.names

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    id     = "versions"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  dynamic "rule" {
    for_each = lookup(local.transitions, each.key, [])
    iterator = transition

    content {
      id     = "cheaper"
      status = "Enabled"

      filter {
        prefix = transition.value.prefix
      }

      transition {
        days          = transition.value.days
        storage_class = transition.value.class
      }
    }
  }

  dynamic "rule" {
    for_each = contains(keys(local.expirations), each.key) ? [local.expirations[each.key]] : []
    iterator = expiration

    content {
      id     = "expiry"
      status = "Enabled"

      filter {
        prefix = expiration.value.prefix
      }

      expiration {
        days = expiration.value.days
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_policy" "this" {
  for_each = local.names

  bucket = aws_s3_bucket.this[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [local.arns[each.key], "${local.arns[each.key]}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      [for statement in [
        {
          Sid       = "AccessLogsOfBuckets"
          Effect    = "Allow"
          Principal = { Service = "logging.s3.amazonaws.com" }
          Action    = "s3:PutObject"
          Resource  = "${local.arns.logs}/s3/*"
          Condition = {
            StringEquals = { "aws:SourceAccount" = local.account }
            ArnLike      = { "aws:SourceArn" = [for name in setsubtract(local.names, ["logs"]) : local.arns[name]] }
          }
        },
        {
          Sid       = "AccessLogsOfLoadBalancers"
          Effect    = "Allow"
          Principal = { Service = "logdelivery.elasticloadbalancing.amazonaws.com" }
          Action    = "s3:PutObject"
          Resource  = "${local.arns.logs}/alb/AWSLogs/${local.account}/*"
          Condition = {
            ArnLike = { "aws:SourceArn" = "arn:${local.partition}:elasticloadbalancing:*:${local.account}:loadbalancer/*" }
          }
        },
      ] : statement if each.key == "logs"],
    )
  })

  depends_on = [aws_s3_bucket_public_access_block.this]
}
