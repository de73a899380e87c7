# A backup set a day, by a step's task: `make backup`, into the bucket of backups. Not by Airflow, whose own trouble is
# what a backup may be wanted for.

locals {
  backup_arguments = ["python", "-m", "autotrader.continuity", "backup"]
}

resource "aws_iam_role" "schedule" {
  name        = "${local.name}-schedule-${var.region}"
  description = "What EventBridge Scheduler does: run the backup"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "scheduler.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:scheduler:${var.region}:${local.account}:schedule/default/${local.name}-*" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "schedule" {
  name = "run"
  role = aws_iam_role.schedule.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "RunSteps"
        Effect    = "Allow"
        Action    = ["ecs:RunTask"]
        Resource  = ["${local.ecs_arn}:task-definition/${local.name}-step", "${local.ecs_arn}:task-definition/${local.name}-step:*"]
        Condition = { ArnEquals = { "ecs:cluster" = aws_ecs_cluster.this.arn } }
      },
      {
        Sid       = "TagSteps"
        Effect    = "Allow"
        Action    = ["ecs:TagResource"]
        Resource  = ["${local.ecs_arn}:task/${local.name}/*"]
        Condition = { StringEquals = { "ecs:CreateAction" = "RunTask" } }
      },
      {
        Sid       = "PassRolesOfSteps"
        Effect    = "Allow"
        Action    = ["iam:PassRole"]
        Resource  = [aws_iam_role.task["step"].arn, aws_iam_role.execution["step"].arn]
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
      {
        Sid       = "ReadSchedule"
        Effect    = "Allow"
        Action    = ["kms:Decrypt"]
        Resource  = [var.kms_key_arn]
        Condition = { StringEquals = { "kms:ViaService" = "scheduler.${var.region}.amazonaws.com" } }
      },
    ]
  })
}

resource "aws_scheduler_schedule" "backup" {
  name                         = "${local.name}-backup"
  description                  = "A backup set a day"
  schedule_expression          = "cron(30 2 * * ? *)"
  schedule_expression_timezone = "UTC"
  kms_key_arn                  = var.kms_key_arn
  # A standby has no database to copy. After a failover people switch it on, and an apply leaves it so.
  state = var.standby ? "DISABLED" : "ENABLED"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_ecs_cluster.this.arn
    role_arn = aws_iam_role.schedule.arn
    input = jsonencode({
      containerOverrides = [{ name = "step", command = local.backup_arguments }]
    })

    ecs_parameters {
      # The family: the newest revision at that time.
      task_definition_arn = aws_ecs_task_definition.this["step"].arn_without_revision
      launch_type         = "FARGATE"
      propagate_tags      = "TASK_DEFINITION"

      network_configuration {
        subnets          = var.private_subnet_ids
        security_groups  = [var.security_group_ids["step"]]
        assign_public_ip = false
      }
    }

    # Of a start that failed; a backup that fails says so by itself (BackupMissing).
    retry_policy {
      maximum_event_age_in_seconds = 3600
      maximum_retry_attempts       = 5
    }
  }

  lifecycle {
    ignore_changes = [state]
  }
}
