# What Airflow may do: what MWAA needs to live (https://docs.aws.amazon.com/mwaa/latest/userguide/mwaa-create-role.html),
# and to run and stop steps. It reaches neither database, lake, models nor secrets: steps do, with a role of their own.

locals {
  bucket = var.airflow_bucket_arn
  ecs    = "arn:${local.partition}:ecs:${local.region}:${local.account}"
  tasks  = "${local.ecs}:task/${var.cluster_name}/*"

  living = [
    {
      Sid      = "PublishMetrics"
      Effect   = "Allow"
      Action   = ["airflow:PublishMetrics"]
      Resource = ["arn:${local.partition}:airflow:${local.region}:${local.account}:environment/${local.name}"]
    },
    {
      Sid    = "ReadBucket"
      Effect = "Allow"
      Action = [
        "s3:GetBucketLocation", "s3:GetBucketPublicAccessBlock", "s3:GetBucketVersioning",
        "s3:GetEncryptionConfiguration", "s3:ListBucket", "s3:ListBucketVersions",
      ]
      Resource = [local.bucket]
    },
    {
      Sid      = "ReadFiles"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:GetObjectVersion"]
      Resource = ["${local.bucket}/*"]
    },
    {
      Sid    = "WriteLogs"
      Effect = "Allow"
      Action = [
        "logs:CreateLogGroup", "logs:CreateLogStream", "logs:GetLogEvents", "logs:GetLogGroupFields", "logs:GetLogRecord",
        "logs:GetQueryResults", "logs:PutLogEvents",
      ]
      Resource = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:airflow-${local.name}-*"]
    },
    # AWS knows no resources for these three; the last is held to Airflow's own namespace.
    {
      Sid      = "SeeAccount"
      Effect   = "Allow"
      Action   = ["logs:DescribeLogGroups", "s3:GetAccountPublicAccessBlock"]
      Resource = ["*"]
    },
    {
      Sid       = "PutMetrics"
      Effect    = "Allow"
      Action    = ["cloudwatch:PutMetricData"]
      Resource  = ["*"]
      Condition = { StringEquals = { "cloudwatch:namespace" = "AmazonMWAA" } }
    },
    # MWAA's queues are in an account of AWS's own.
    {
      Sid    = "QueueTasks"
      Effect = "Allow"
      Action = [
        "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl",
        "sqs:ReceiveMessage", "sqs:SendMessage",
      ]
      Resource = ["arn:${local.partition}:sqs:${local.region}:*:airflow-celery-*"]
    },
    {
      Sid      = "UseKey"
      Effect   = "Allow"
      Action   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
      Resource = [var.kms_key_arn]
      Condition = {
        StringEquals = { "kms:ViaService" = ["sqs.${local.region}.amazonaws.com", "s3.${local.region}.amazonaws.com"] }
      }
    },
  ]

  # adapters/airflow_step_tasks.py makes these calls and no other.
  steps = [
    {
      Sid       = "RunSteps"
      Effect    = "Allow"
      Action    = ["ecs:RunTask"]
      Resource  = ["${local.ecs}:task-definition/${var.step_family}:*", "${local.ecs}:task-definition/${var.step_family}"]
      Condition = { ArnEquals = { "ecs:cluster" = var.cluster_arn } }
    },
    {
      Sid       = "TagSteps"
      Effect    = "Allow"
      Action    = ["ecs:TagResource"]
      Resource  = [local.tasks]
      Condition = { StringEquals = { "ecs:CreateAction" = "RunTask" } }
    },
    # The trader is a task of the same cluster: what may be stopped says the tag that a step inherits.
    {
      Sid       = "StopSteps"
      Effect    = "Allow"
      Action    = ["ecs:StopTask"]
      Resource  = [local.tasks]
      Condition = { StringEquals = { "aws:ResourceTag/process" = "step" } }
    },
    {
      Sid      = "SeeSteps"
      Effect   = "Allow"
      Action   = ["ecs:DescribeTasks"]
      Resource = [local.tasks]
    },
    {
      Sid       = "ListSteps"
      Effect    = "Allow"
      Action    = ["ecs:ListTasks"]
      Resource  = ["*"]
      Condition = { ArnEquals = { "ecs:cluster" = var.cluster_arn } }
    },
    {
      Sid       = "PassRolesOfSteps"
      Effect    = "Allow"
      Action    = ["iam:PassRole"]
      Resource  = var.step_role_arns
      Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
    },
    {
      Sid      = "AskSteps"
      Effect   = "Allow"
      Action   = ["s3:PutObject"]
      Resource = ["${local.bucket}/steps/*"]
    },
  ]
}

resource "aws_iam_role" "execution" {
  count = var.enabled ? 1 : 0

  name        = "${local.name}-airflow-${local.region}" # roles are global
  description = "What Airflow does on AWS"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = ["airflow.amazonaws.com", "airflow-env.amazonaws.com"] }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:airflow:${local.region}:${local.account}:environment/${local.name}" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "execution" {
  # checkov:skip=CKV_AWS_355: AWS knows no resources for the calls in the statements with "*"; they read, or are held to a namespace or a cluster by condition.
  count = var.enabled ? 1 : 0

  name   = "airflow"
  role   = aws_iam_role.execution[0].id
  policy = jsonencode({ Version = "2012-10-17", Statement = concat(local.living, local.steps) })
}
