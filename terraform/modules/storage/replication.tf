# The buckets, and in production their copies: everything, at most 15 minutes old (replication time control).

module "buckets" {
  source = "./buckets"

  prefix          = var.prefix
  kms_key_arn     = var.kms_key_arn
  noncurrent_days = var.backup_days
  force_destroy   = !var.protect
}

resource "aws_iam_role" "replication" {
  count = local.copies

  name = "${local.name}-${local.region}-replication"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "s3.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "replication" {
  count = local.copies

  name = "replicate-buckets"
  role = aws_iam_role.replication[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "ReadSources"
        Effect   = "Allow"
        Action   = ["s3:GetReplicationConfiguration", "s3:ListBucket"]
        Resource = values(module.buckets.arns)
      },
      {
        Sid      = "ReadVersions"
        Effect   = "Allow"
        Action   = ["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"]
        Resource = [for arn in values(module.buckets.arns) : "${arn}/*"]
      },
      {
        Sid      = "WriteCopies"
        Effect   = "Allow"
        Action   = ["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"]
        Resource = [for arn in values(var.copies.bucket_arns) : "${arn}/*"]
      },
      {
        Sid      = "Decrypt"
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = var.kms_key_arn
        Condition = {
          StringEquals = { "kms:ViaService" = "s3.${local.region}.amazonaws.com" }
        }
      },
      {
        Sid      = "EncryptCopies"
        Effect   = "Allow"
        Action   = "kms:Encrypt"
        Resource = var.copies.kms_key_arn
        Condition = {
          StringEquals = { "kms:ViaService" = "s3.${var.copies.region}.amazonaws.com" }
        }
      },
    ]
  })
}

resource "aws_s3_bucket_replication_configuration" "this" {
  for_each = var.copies == null ? {} : module.buckets.names

  bucket = each.value
  role   = aws_iam_role.replication[0].arn

  rule {
    id     = "all"
    status = "Enabled"

    filter {}

    delete_marker_replication {
      status = "Enabled"
    }

    source_selection_criteria {
      sse_kms_encrypted_objects {
        status = "Enabled"
      }
    }

    destination {
      bucket        = var.copies.bucket_arns[each.key]
      storage_class = "STANDARD"

      encryption_configuration {
        replica_kms_key_id = var.copies.kms_key_arn
      }

      replication_time {
        status = "Enabled"
        time {
          minutes = 15
        }
      }

      metrics {
        status = "Enabled"
        event_threshold {
          minutes = 15
        }
      }
    }
  }

  depends_on = [module.buckets, aws_iam_role_policy.replication]
}
