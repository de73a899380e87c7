# Amazon MWAA: schedules the DAGs, whose steps run as ECS tasks. Its workers wait, they do not compute.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  name      = "autotrader-${var.environment}"
  region    = data.aws_region.current.name
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition

  # adapters/airflow_ecs.py reads these; workers, triggerer and callbacks share no other place.
  options = merge(
    {
      "autotrader.steps"           = "ecs"
      "autotrader.environment"     = var.environment
      "autotrader.prefix"          = var.prefix
      "autotrader.subnets"         = join(",", var.step_subnet_ids)
      "autotrader.security_groups" = var.step_security_group_id
      "core.load_examples"         = "False"
    },
    var.step_capacity_provider == "" ? {} : { "autotrader.capacity_provider" = var.step_capacity_provider },
    length(var.step_sizes) == 0 ? {} : { "autotrader.step_sizes" = jsonencode(var.step_sizes) },
  )

  logs = ["DAGProcessing", "Scheduler", "Task", "WebServer", "Worker"]
}

# MWAA would make them by itself, without our key and for ever.
resource "aws_cloudwatch_log_group" "this" {
  for_each = var.enabled ? toset(local.logs) : []

  name              = "airflow-${local.name}-${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_mwaa_environment" "this" {
  count = var.enabled ? 1 : 0

  name                             = local.name
  airflow_version                  = var.airflow_version
  environment_class                = var.mwaa_environment_class
  execution_role_arn               = aws_iam_role.execution[0].arn
  kms_key                          = var.kms_key_arn
  source_bucket_arn                = var.airflow_bucket_arn
  dag_s3_path                      = var.dags_path
  requirements_s3_path             = var.requirements_path
  requirements_s3_object_version   = var.requirements_version
  plugins_s3_path                  = var.plugins_path
  plugins_s3_object_version        = var.plugins_version
  startup_script_s3_path           = var.startup_script_path
  startup_script_s3_object_version = var.startup_script_version
  airflow_configuration_options    = local.options
  webserver_access_mode            = "PRIVATE_ONLY"
  endpoint_management              = "SERVICE"
  schedulers                       = 2
  min_workers                      = 1
  max_workers                      = var.max_workers
  weekly_maintenance_window_start  = "SAT:05:00" # no pipeline is due and no equity market open

  network_configuration {
    subnet_ids         = var.private_subnet_ids
    security_group_ids = [var.security_group_id]
  }

  logging_configuration {
    dag_processing_logs {
      enabled   = true
      log_level = "INFO"
    }
    scheduler_logs {
      enabled   = true
      log_level = "INFO"
    }
    task_logs {
      enabled   = true
      log_level = "INFO"
    }
    webserver_logs {
      enabled   = true
      log_level = "INFO"
    }
    worker_logs {
      enabled   = true
      log_level = "INFO"
    }
  }

  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy.execution]
}
