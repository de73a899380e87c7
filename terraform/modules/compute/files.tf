# Files that outlive a task: each process sees a folder of its own, as a user of its own, and no other, but for who is
# shown one to read.

locals {
  kept = {
    trader       = { volume = "home", uid = 10001 } # the journal of the paper broker
    controller   = { volume = "home", uid = 10001 } # what a rollout was checked with
    step         = { volume = "home", uid = 10001 } # steps hand each other files: each is a task of its own
    alerts       = { volume = "home", uid = 10001 } # letters: the newest says until when executions were told
    alertmanager = { volume = "kept", uid = 65534 }
    grafana      = { volume = "kept", uid = 472 }
  }

  # Who reads in the folder of another one: health checks are steps, and what they found is what the exporter tells.
  shown = { exporter = "step" }

  # By process, the access point that is its home or its folder.
  folders = merge({ for name in keys(local.kept) : name => name }, local.shown)
}

resource "aws_efs_file_system" "this" {
  creation_token  = local.name
  encrypted       = true
  kms_key_id      = var.kms_key_arn
  throughput_mode = "elastic"

  lifecycle_policy {
    transition_to_ia = "AFTER_30_DAYS"
  }

  lifecycle_policy {
    transition_to_primary_storage_class = "AFTER_1_ACCESS"
  }

  tags = { Name = local.name }
}

# Of the module storage's plan: hourly, and copied to the DR region with the database.
resource "aws_backup_selection" "files" {
  count = var.backup == null ? 0 : 1

  name         = "${local.name}-files"
  plan_id      = var.backup.plan_id
  iam_role_arn = var.backup.role_arn
  resources    = [aws_efs_file_system.this.arn]
}

# Without a policy whoever reaches the mount target may read and write all; with one, only who IAM lets in.
resource "aws_efs_file_system_policy" "this" {
  file_system_id = aws_efs_file_system.this.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [for name in sort(keys(local.kept)) : {
        Sid       = "Folder${replace(title(name), "-", "")}"
        Effect    = "Allow"
        Principal = { AWS = aws_iam_role.task[name].arn }
        Action    = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
        Resource  = aws_efs_file_system.this.arn
        Condition = { StringEquals = { "elasticfilesystem:AccessPointArn" = aws_efs_access_point.this[name].arn } }
      }],
      [for name, owner in local.shown : {
        Sid       = "Read${title(name)}"
        Effect    = "Allow"
        Principal = { AWS = aws_iam_role.task[name].arn }
        Action    = ["elasticfilesystem:ClientMount"]
        Resource  = aws_efs_file_system.this.arn
        Condition = { StringEquals = { "elasticfilesystem:AccessPointArn" = aws_efs_access_point.this[owner].arn } }
      }],
      [{
        Sid       = "OnlyEncrypted"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite", "elasticfilesystem:ClientRootAccess"]
        Resource  = aws_efs_file_system.this.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
    )
  })
}

resource "aws_efs_access_point" "this" {
  for_each = local.kept

  file_system_id = aws_efs_file_system.this.id

  posix_user {
    uid = each.value.uid
    gid = each.value.uid
  }

  root_directory {
    path = "/${each.key}"

    creation_info {
      owner_uid   = each.value.uid
      owner_gid   = each.value.uid
      permissions = "0750"
    }
  }

  tags = { Name = "${local.name}-${each.key}" }
}

resource "aws_efs_mount_target" "this" {
  count = length(var.private_subnet_ids)

  file_system_id  = aws_efs_file_system.this.id
  subnet_id       = var.private_subnet_ids[count.index]
  security_groups = [var.security_group_ids["efs"]]
}
