# Hourly recovery points of the database and of the file system (module compute, which selects it), the shortest interval that AWS Backup has, copied to the DR region where there
# is one: RPO 1 h. Beside them RDS keeps its own for restores to any second in this region.

resource "aws_backup_vault" "this" {
  name          = local.name
  kms_key_arn   = var.kms_key_arn
  force_destroy = !var.protect
}

resource "aws_backup_plan" "hourly" {
  name = "${local.name}-hourly"

  rule {
    rule_name         = "hourly"
    target_vault_name = aws_backup_vault.this.name
    schedule          = "cron(0 * * * ? *)"
    start_window      = 60
    completion_window = 120

    lifecycle {
      delete_after = var.backup_days
    }

    dynamic "copy_action" {
      for_each = var.copies[*].vault_arn

      content {
        destination_vault_arn = copy_action.value

        lifecycle {
          delete_after = var.backup_days
        }
      }
    }
  }
}

resource "aws_iam_role" "backup" {
  name = "${local.name}-${local.region}-backup"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "backup.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "backup" {
  role       = aws_iam_role.backup.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup"
}

resource "aws_backup_selection" "database" {
  name         = "${local.name}-database"
  plan_id      = aws_backup_plan.hourly.id
  iam_role_arn = aws_iam_role.backup.arn
  resources    = [aws_db_instance.this.arn]
}
