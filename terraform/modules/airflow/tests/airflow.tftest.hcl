mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-west-1" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/autotrader-dev-airflow" }
  }
}

variables {
  environment            = "dev"
  prefix                 = "acme"
  private_subnet_ids     = ["subnet-a", "subnet-b"]
  security_group_id      = "sg-airflow"
  kms_key_arn            = "arn:aws:kms:eu-west-1:123456789012:key/1"
  airflow_bucket_arn     = "arn:aws:s3:::acme-airflow"
  cluster_arn            = "arn:aws:ecs:eu-west-1:123456789012:cluster/autotrader-dev"
  cluster_name           = "autotrader-dev"
  step_family            = "autotrader-dev-step"
  step_role_arns         = ["arn:aws:iam::123456789012:role/step-task", "arn:aws:iam::123456789012:role/step-execution"]
  step_subnet_ids        = ["subnet-a", "subnet-b", "subnet-c"]
  step_security_group_id = "sg-step"
}

run "the_environment_is_private_logged_and_runs_steps_on_ecs" {
  variables {
    step_sizes = { "training." = [4096, 16384] }
  }

  assert {
    condition = alltrue([
      aws_mwaa_environment.this[0].name == "autotrader-dev",
      aws_mwaa_environment.this[0].airflow_version == "3.0.6",
      aws_mwaa_environment.this[0].webserver_access_mode == "PRIVATE_ONLY",
      aws_mwaa_environment.this[0].kms_key == var.kms_key_arn,
      aws_mwaa_environment.this[0].requirements_s3_path == "requirements.txt",
    ])
    error_message = "a private environment of a version that MWAA offers"
  }
  assert {
    condition = alltrue([for logs in [
      aws_mwaa_environment.this[0].logging_configuration[0].dag_processing_logs,
      aws_mwaa_environment.this[0].logging_configuration[0].scheduler_logs,
      aws_mwaa_environment.this[0].logging_configuration[0].task_logs,
      aws_mwaa_environment.this[0].logging_configuration[0].webserver_logs,
      aws_mwaa_environment.this[0].logging_configuration[0].worker_logs,
    ] : logs[0].enabled])
    error_message = "all that it logs is kept"
  }
  assert {
    condition = join(" ", sort([for group in values(aws_cloudwatch_log_group.this) : group.name])) == join(" ", [
      "airflow-autotrader-dev-DAGProcessing", "airflow-autotrader-dev-Scheduler", "airflow-autotrader-dev-Task",
      "airflow-autotrader-dev-WebServer", "airflow-autotrader-dev-Worker",
    ])
    error_message = "log groups have the names that MWAA looks for"
  }
  assert {
    condition = aws_mwaa_environment.this[0].airflow_configuration_options == tomap({
      "autotrader.steps"           = "ecs"
      "autotrader.environment"     = "dev"
      "autotrader.prefix"          = "acme"
      "autotrader.subnets"         = "subnet-a,subnet-b,subnet-c"
      "autotrader.security_groups" = "sg-step"
      "autotrader.step_sizes"      = "{\"training.\":[4096,16384]}"
      "core.load_examples"         = "False"
    })
    error_message = "Airflow is told where steps run"
  }
  assert {
    condition = alltrue([for option in keys(aws_mwaa_environment.this[0].airflow_configuration_options) :
      strcontains(file("${path.module}/../../../src/autotrader/adapters/airflow_ecs.py"), "\"${trimprefix(option, "autotrader.")}\"") ||
      strcontains(file("${path.module}/../../../src/autotrader/adapters/airflow_dag.py"), "\"${trimprefix(option, "autotrader.")}\"")
    if startswith(option, "autotrader.")])
    error_message = "each option is one that is read"
  }
  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.execution[0].policy).Statement : statement.Sid => join(" ", statement.Resource)
      if anytrue([for action in statement.Action : startswith(action, "ecs:") || startswith(action, "iam:")])
      } == {
      RunSteps         = "arn:aws:ecs:eu-west-1:123456789012:task-definition/autotrader-dev-step:* arn:aws:ecs:eu-west-1:123456789012:task-definition/autotrader-dev-step"
      TagSteps         = "arn:aws:ecs:eu-west-1:123456789012:task/autotrader-dev/*"
      StopSteps        = "arn:aws:ecs:eu-west-1:123456789012:task/autotrader-dev/*"
      SeeSteps         = "arn:aws:ecs:eu-west-1:123456789012:task/autotrader-dev/*"
      ListSteps        = "*"
      PassRolesOfSteps = "arn:aws:iam::123456789012:role/step-task arn:aws:iam::123456789012:role/step-execution"
    }
    error_message = "it runs steps and passes their roles, nothing else"
  }
  assert {
    condition = one([for statement in jsondecode(aws_iam_role_policy.execution[0].policy).Statement :
    statement.Condition.StringEquals["aws:ResourceTag/process"] if contains(statement.Action, "ecs:StopTask")]) == "step"
    error_message = "it cannot stop a trader"
  }
  assert {
    condition = alltrue([for statement in jsondecode(aws_iam_role_policy.execution[0].policy).Statement :
      alltrue([for action in statement.Action : !strcontains(action, "*")]) &&
    contains(["SeeAccount", "PutMetrics", "ListSteps"], statement.Sid) == contains(statement.Resource, "*")])
    error_message = "every action is named, and every resource but where AWS knows none"
  }
  assert {
    condition = alltrue([for statement in jsondecode(aws_iam_role_policy.execution[0].policy).Statement :
      !anytrue([for action in statement.Action : startswith(action, "secretsmanager:") || startswith(action, "rds:")]) &&
    (!contains(statement.Action, "s3:PutObject") || join(" ", statement.Resource) == "arn:aws:s3:::acme-airflow/steps/*")])
    error_message = "it reads no secret and writes the steps' keys alone"
  }
}

run "disabled_makes_nothing" {
  command = plan
  variables {
    enabled = false
  }
  assert {
    condition     = length(aws_mwaa_environment.this) + length(aws_iam_role.execution) + length(aws_iam_role_policy.execution) + length(aws_cloudwatch_log_group.this) == 0
    error_message = "nothing is made"
  }
  assert {
    condition     = output.environment_arn == null && output.webserver_url == null && output.execution_role_arn == null
    error_message = "outputs are null"
  }
}

run "mwaa_takes_two_subnets" {
  command = plan
  variables {
    private_subnet_ids = ["subnet-a", "subnet-b", "subnet-c"]
  }
  expect_failures = [var.private_subnet_ids]
}
