# Roles are global, a standby in another region has its own: their names say the region.
#
# One role for what a task's processes do, one for what ECS does to start it; a pair a process, both colours alike.

locals {
  roles = toset(concat(
    keys(local.processes), keys(local.observers), ["serving"], var.ib_gateway.image == null ? [] : ["ib-gateway"],
  ))

  log_groups_of = { for role in local.roles : role => role == "serving" ? ["serving-blue", "serving-green"] : [role] }

  # Our own images are in ECR; the others are pulled without credentials.
  pulls_from_ecr = setunion(toset(keys(local.processes)), ["serving"])
  ecr_repository = join("", [
    "arn:${local.partition}:ecr:${split(".", var.ecr_repository_url)[3]}:${split(".", var.ecr_repository_url)[0]}",
    ":repository/${join("/", slice(split("/", var.ecr_repository_url), 1, length(split("/", var.ecr_repository_url))))}",
  ])

  assume_by_tasks = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "${local.ecs_arn}:*" }
      }
    }]
  })

  execution_statements = { for role in local.roles : role => concat(
    [{
      Sid      = "WriteLogs"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = [for group in local.log_groups_of[role] : "${aws_cloudwatch_log_group.process[group].arn}:log-stream:*"]
    }],
    [for arns in [distinct([for wanted in values(local.secrets[role]) : var.secret_arns[wanted.secret]])] : {
      Sid      = "ReadSecrets"
      Effect   = "Allow"
      Action   = ["secretsmanager:GetSecretValue"]
      Resource = arns
    } if length(arns) > 0],
    [for arns in [distinct([for wanted in values(local.secrets[role]) : var.secret_arns[wanted.secret]])] : {
      Sid       = "DecryptSecrets"
      Effect    = "Allow"
      Action    = ["kms:Decrypt"]
      Resource  = [var.kms_key_arn]
      Condition = { StringEquals = { "kms:ViaService" = "secretsmanager.${var.region}.amazonaws.com" } }
    } if length(arns) > 0],
    [for repository in [local.ecr_repository] : {
      Sid      = "PullImages"
      Effect   = "Allow"
      Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Resource = [repository]
    } if contains(local.pulls_from_ecr, role)],
    # AWS knows no resource for it: what it gives opens nothing without the statement above.
    [for action in ["ecr:GetAuthorizationToken"] : {
      Sid      = "LogInToRegistry"
      Effect   = "Allow"
      Action   = [action]
      Resource = ["*"]
    } if contains(local.pulls_from_ecr, role)],
  ) }
}

resource "aws_iam_role" "execution" {
  for_each = local.roles

  name               = "${local.name}-${each.key}-execution-${var.region}"
  description        = "What ECS does to start ${each.key}: images, logs, secrets"
  assume_role_policy = local.assume_by_tasks
}

resource "aws_iam_role_policy" "execution" {
  for_each = local.roles

  name   = "start"
  role   = aws_iam_role.execution[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.execution_statements[each.key] })
}

resource "aws_iam_role" "task" {
  for_each = local.roles

  name               = "${local.name}-${each.key}-task-${var.region}"
  description        = "What ${each.key} does on AWS"
  assume_role_policy = local.assume_by_tasks
}

resource "aws_iam_role_policy" "task" {
  # checkov:skip=CKV_AWS_355: ECS and load balancing offer no resources for the calls that stand alone in the statements with "*": they read.
  for_each = { for role, statements in local.task_statements : role => statements if length(statements) > 0 }

  name   = "act"
  role   = aws_iam_role.task[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = each.value })
}
