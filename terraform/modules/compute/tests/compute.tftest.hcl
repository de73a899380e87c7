# Offline: `terraform init -backend=false && terraform test`.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/other" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:some" }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/autotrader-dev" }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = { arn_without_revision = "arn:aws:ecs:eu-west-1:123456789012:task-definition/autotrader-dev-step" }
  }
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/autotrader-dev/1" }
  }
  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/autotrader-dev/1/2" }
  }
  mock_resource "aws_efs_file_system" {
    defaults = { arn = "arn:aws:elasticfilesystem:eu-west-1:123456789012:file-system/fs-1" }
  }
  mock_resource "aws_efs_access_point" {
    defaults = { arn = "arn:aws:elasticfilesystem:eu-west-1:123456789012:access-point/fsap-1" }
  }
  mock_resource "aws_appautoscaling_policy" {
    defaults = { arn = "arn:aws:autoscaling:eu-west-1:123456789012:scalingPolicy:1:resource/ecs/service:policyName/idle" }
  }
  mock_resource "aws_service_discovery_service" {
    defaults = { arn = "arn:aws:servicediscovery:eu-west-1:123456789012:service/srv-1" }
  }
}

override_resource {
  target = aws_iam_role.task["serving"]
  values = { arn = "arn:aws:iam::123456789012:role/autotrader-dev-serving-task" }
}

override_resource {
  target = aws_iam_role.execution["serving"]
  values = { arn = "arn:aws:iam::123456789012:role/autotrader-dev-serving-execution" }
}

override_resource {
  target = aws_lb_target_group.color["blue"]
  values = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/autotrader-dev-blue/1" }
}

override_resource {
  target = aws_lb_target_group.color["green"]
  values = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/autotrader-dev-green/2" }
}

variables {
  environment        = "dev"
  prefix             = "acme"
  region             = "eu-west-1"
  vpc_id             = "vpc-1"
  private_subnet_ids = ["subnet-a", "subnet-b"]
  security_group_ids = {
    alb      = "sg-alb", serving = "sg-serving", trader = "sg-trader", controller = "sg-controller", api = "sg-api"
    exporter = "sg-exporter", alerts = "sg-alerts", mlflow = "sg-mlflow", step = "sg-step"
    efs      = "sg-efs", monitoring = "sg-monitoring", ib-gateway = "sg-ib"
  }
  kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1"
  bucket_arns = {
    data     = "arn:aws:s3:::acme-data", models = "arn:aws:s3:::acme-models", logs = "arn:aws:s3:::acme-logs"
    features = "arn:aws:s3:::acme-features", airflow = "arn:aws:s3:::acme-airflow", backups = "arn:aws:s3:::acme-backups"
  }
  bucket_names = {
    data     = "acme-data", models = "acme-models", logs = "acme-logs"
    features = "acme-features", airflow = "acme-airflow", backups = "acme-backups"
  }
  secret_arns = {
    database-url        = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:autotrader/dev/database-url-AAAAAA"
    ledger-url          = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:autotrader/dev/ledger-url-AAAAAA"
    mlflow-database-url = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:autotrader/dev/mlflow-database-url-AAAAAA"
    redis-url           = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:autotrader/dev/redis-url-AAAAAA"
    serving-token       = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:autotrader/dev/serving-token-AAAAAA"
    binance             = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:autotrader/dev/binance-AAAAAA"
    oanda               = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:autotrader/dev/oanda-AAAAAA"
    ibkr                = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:autotrader/dev/ibkr-AAAAAA"
    metrics-token       = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:autotrader/dev/metrics-token-AAAAAA"
    mail                = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:autotrader/dev/mail-AAAAAA"
    pagerduty           = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:autotrader/dev/pagerduty-AAAAAA"
    slack               = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:autotrader/dev/slack-AAAAAA"
    grafana-admin       = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:autotrader/dev/grafana-admin-AAAAAA"
  }
  database_address   = "db.internal"
  ecr_repository_url = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/autotrader"
  image_tags         = { serving = "v1.0.0", platform = "v1.0.0" }
  monitoring_files = {
    for name in fileset("../../../monitoring", "{prometheus,alertmanager,grafana,dashboards}/**") :
    name => file("../../../monitoring/${name}")
  }
}

run "a_region_in_waiting_runs_nothing" {
  command = plan

  variables {
    standby = true
  }

  assert {
    condition     = alltrue([for service in concat(values(aws_ecs_service.process), values(aws_ecs_service.color)) : service.desired_count == 0])
    error_message = "services are there and run nothing"
  }
}

run "names_are_those_of_aws_names" {
  assert {
    condition     = aws_ecs_cluster.this.name == "autotrader-dev" && aws_lb.this.name == "autotrader-dev"
    error_message = "cluster and load balancer are autotrader-<environment>"
  }
  assert {
    condition = output.service_names == {
      serving-blue = "trading-blue", serving-green = "trading-green"
      trader       = "autotrader-dev-trader", controller = "autotrader-dev-controller", api = "autotrader-dev-api"
      exporter     = "autotrader-dev-exporter", alerts = "autotrader-dev-alerts"
      mlflow       = "autotrader-dev-mlflow", prometheus = "autotrader-dev-prometheus"
      alertmanager = "autotrader-dev-alertmanager", grafana = "autotrader-dev-grafana"
    }
    error_message = "services are trading-<colour> and autotrader-<environment>-<process>; no gateway without an image"
  }
  assert {
    condition     = alltrue([for process, family in output.task_definition_families : family == "autotrader-dev-${process}"])
    error_message = "families are autotrader-<environment>-<process>"
  }
  assert {
    condition     = contains(keys(output.task_definition_families), "step") && !contains(keys(output.service_names), "step")
    error_message = "a step is a task that Airflow runs, no service"
  }
  assert {
    condition     = alltrue([for process, group in output.log_group_names : group == "/autotrader/dev/${process}"])
    error_message = "log groups are /autotrader/<environment>/<process>"
  }
  assert {
    condition = alltrue([for group in values(aws_cloudwatch_log_group.process) :
    group.retention_in_days == 365 && group.kms_key_id == var.kms_key_arn])
    error_message = "logs are encrypted and kept for a year"
  }
}

run "the_load_balancer_asks_the_colour_that_the_caller_names" {
  assert {
    condition     = aws_lb.this.internal && aws_lb.this.drop_invalid_header_fields && !aws_lb.this.enable_deletion_protection
    error_message = "internal, without invalid headers; dev can be destroyed"
  }
  assert {
    condition     = aws_lb.this.access_logs[0].enabled && aws_lb.this.access_logs[0].bucket == "acme-logs"
    error_message = "access is logged"
  }
  assert {
    condition = alltrue([for color, group in aws_lb_target_group.color : alltrue([
      group.name == "autotrader-dev-${color}", group.port == 8000, group.target_type == "ip",
      tonumber(group.deregistration_delay) == 30, group.health_check[0].path == "/health",
      group.health_check[0].interval == 30, group.health_check[0].healthy_threshold == 2,
      group.health_check[0].unhealthy_threshold == 3, group.health_check[0].matcher == "200",
    ])])
    error_message = "two target groups: 8000, /health, every 30 s, 2 and 3, 30 s to drain"
  }
  assert {
    condition = { for group in aws_lb_listener.main.default_action[0].forward[0].target_group : group.arn => group.weight } == {
      (aws_lb_target_group.color["blue"].arn) = 100, (aws_lb_target_group.color["green"].arn) = 0
    }
    error_message = "callers that name no colour reach blue, until a deployment says else"
  }
  assert {
    condition = alltrue([for color, rule in aws_lb_listener_rule.color : alltrue([
      one(one(rule.condition).http_header).http_header_name == "X-Autotrader-Color",
      one(one(rule.condition).http_header).values == toset([color]),
      rule.action[0].target_group_arn == aws_lb_target_group.color[color].arn,
      rule.listener_arn == aws_lb_listener.main.arn,
    ])]) && keys(aws_lb_listener_rule.color) == ["blue", "green"]
    error_message = "each colour's rule leads by X-Autotrader-Color to its own target group"
  }
  assert {
    condition     = aws_lb_listener.main.protocol == "HTTP" && aws_lb_listener.main.port == 80 && length(aws_lb_listener.redirect) == 0
    error_message = "without a certificate (dev alone) plain HTTP"
  }
  # What mocks cannot show: that an apply leaves alone what was changed since.
  assert {
    condition = alltrue([
      length(regexall("ignore_changes = \\[default_action\\]", file("${path.module}/load_balancer.tf"))) == 1,
      length(regexall("ignore_changes = \\[action\\]", file("${path.module}/load_balancer.tf"))) == 1,
      length(regexall("ignore_changes = \\[task_definition, desired_count\\]", file("${path.module}/colours.tf"))) == 1,
      length(regexall("ignore_changes = \\[desired_count\\]", file("${path.module}/tasks.tf"))) == 1,
    ])
    error_message = "weights, rule targets, the colours' task definitions and all counts are not an apply's to change"
  }
  assert {
    condition     = aws_ecs_task_definition.this["serving-blue"].skip_destroy && !aws_ecs_task_definition.this["trader"].skip_destroy
    error_message = "old revisions of a colour stay: one may be running, and a rollback may need it"
  }
}

run "never_two_traders" {
  assert {
    condition = alltrue([for name in ["trader", "controller", "exporter", "alerts", "mlflow", "prometheus", "alertmanager", "grafana"] : alltrue([
      aws_ecs_service.process[name].desired_count == 1,
      aws_ecs_service.process[name].deployment_minimum_healthy_percent == 0,
      aws_ecs_service.process[name].deployment_maximum_percent == 100,
      aws_ecs_service.process[name].availability_zone_rebalancing == "DISABLED",
    ])])
    error_message = "the trader, and whatever may run only once, ends before it starts anew"
  }
  assert {
    condition     = [for target in values(aws_appautoscaling_target.color) : target.resource_id] == ["service/autotrader-dev/trading-blue", "service/autotrader-dev/trading-green"]
    error_message = "nothing but the colours is scaled"
  }
  assert {
    condition = alltrue([for service in concat(values(aws_ecs_service.process), values(aws_ecs_service.color)) :
    service.deployment_circuit_breaker[0].enable && !service.network_configuration[0].assign_public_ip])
    error_message = "every service has a circuit breaker and no public address"
  }
}

run "scaling_leaves_deployments_alone" {
  assert {
    condition     = alltrue([for service in values(aws_ecs_service.color) : service.desired_count == 0 && !service.deployment_circuit_breaker[0].rollback])
    error_message = "a colour begins without tasks, and only the controller decides on its version"
  }
  assert {
    condition     = alltrue([for target in values(aws_appautoscaling_target.color) : target.min_capacity == 0 && target.max_capacity == 4])
    error_message = "a colour at 0 is within its limits, so that nothing lifts it"
  }
  assert {
    condition = alltrue([for policy in concat(values(aws_appautoscaling_policy.cpu), values(aws_appautoscaling_policy.requests)) :
    policy.target_tracking_scaling_policy_configuration[0].disable_scale_in])
    error_message = "target tracking only adds: with a least capacity of 0 it would take the last task of a quiet colour"
  }
  assert {
    condition = alltrue([for alarm in values(aws_cloudwatch_metric_alarm.idle) :
      alarm.treat_missing_data == "notBreaching" &&
      anytrue([for query in alarm.metric_query : query.expression == "IF(running > 1 AND cpu < 20 AND FILL(requests, 0) < 15000, 1, 0)"])
    ])
    error_message = "a task is only taken away while more than one runs, with little to do"
  }
}

run "containers_are_what_the_processes_are" {
  assert {
    condition = { for process in ["trader", "controller", "api", "exporter", "alerts", "step"] : process => jsondecode(aws_ecs_task_definition.this[process].container_definitions)[0].command } == {
      trader     = ["python", "-m", "autotrader.apps.trader"]
      controller = ["python", "-m", "autotrader.apps.controller"]
      api        = ["python", "-m", "autotrader.apps.api"]
      exporter   = ["python", "-m", "autotrader.apps.exporter"]
      alerts     = ["python", "-m", "autotrader.apps.alerts"]
      step       = ["python", "-m", "autotrader.pipelines.run_step"]
    }
    error_message = "processes are started as by hand"
  }
  assert {
    condition = { for c in jsondecode(aws_ecs_task_definition.this["serving-green"].container_definitions) : c.name => c.command } == {
      release = ["python", "-m", "autotrader.deployment.fetch_release", "--folder", "/release/current"]
      shipper = ["python", "-m", "autotrader.apps.shipping", "--log", "/predictions", "--leave-seconds", "110"]
      serving = [
        "python", "-m", "autotrader.apps.serving", "--color", "green", "--host", "0.0.0.0", "--port", "8000",
        "--release", "/release/current", "--log", "/predictions/green",
      ]
    }
    error_message = "a colour is its release, its shipper and its service"
  }
  assert {
    condition = alltrue([for color in ["blue", "green"] : alltrue([
      for c in jsondecode(aws_ecs_task_definition.this["serving-${color}"].container_definitions) : alltrue([
        c.essential,
        c.restartPolicy.enabled,
        contains(c.dependsOn, { containerName = "release", condition = "SUCCESS" }),
        contains(c.dependsOn, { containerName = "shipper", condition = "START" }),
        contains(c.mountPoints, { sourceVolume = "release", containerPath = "/release", readOnly = true }),
        contains(c.mountPoints, { sourceVolume = "predictions", containerPath = "/predictions", readOnly = false }),
      ]) if c.name == "serving"
    ])])
    error_message = "the service waits for its release, reads it only, restarts in its task and ends before the shipper"
  }
  assert {
    condition = one([for c in jsondecode(aws_ecs_task_definition.this["serving-blue"].container_definitions) :
    c.stopTimeout if c.name == "shipper"]) == 120
    error_message = "the shipper has two minutes to bring the last predictions to the lake"
  }
  assert {
    condition = alltrue(flatten([for definition in values(aws_ecs_task_definition.this) : [
      for c in jsondecode(definition.container_definitions) :
      c.readonlyRootFilesystem && !startswith(c.user, "0") && !startswith(c.user, "root") && c.linuxParameters.capabilities.drop == ["ALL"]
    ]]))
    error_message = "read-only roots, no root, no capabilities"
  }
  assert {
    condition = alltrue([for name in ["trader", "api", "exporter", "mlflow", "prometheus", "alertmanager", "grafana"] :
    jsondecode(aws_ecs_task_definition.this[name].container_definitions)[0].healthCheck.command != null])
    error_message = "whatever answers is asked whether it is well"
  }
  assert {
    condition = alltrue([for name in ["trader", "controller", "alerts", "exporter", "step"] :
      one([for v in aws_ecs_task_definition.this[name].volume : v.efs_volume_configuration[0].authorization_config[0].iam if v.name == "home"]) == "ENABLED" &&
    one([for v in aws_ecs_task_definition.this[name].volume : v.efs_volume_configuration[0].transit_encryption if v.name == "home"]) == "ENABLED"])
    error_message = "what must outlive a task is on the file system, encrypted on its way, for its role alone"
  }
  assert {
    condition     = alltrue([for name, access in aws_efs_access_point.this : access.root_directory[0].path == "/${name}" && access.posix_user[0].uid != 0])
    error_message = "each process sees a folder of its own, as no root"
  }
  assert {
    condition = alltrue([for name in distinct(flatten([for definition in values(aws_ecs_task_definition.this) : [
      for c in jsondecode(definition.container_definitions) : [
        for variable in concat(try(c.environment, []), try(c.secrets, [])) : variable.name if startswith(variable.name, "AUTOTRADER_")
      ]
    ]])) : strcontains(file("${path.module}/../../../.env.production.example"), "${name}=")])
    error_message = "every AUTOTRADER_ variable is a setting"
  }
}

run "secrets_go_by_reference_to_those_who_need_them" {
  assert {
    condition = alltrue(flatten([for definition in values(aws_ecs_task_definition.this) : [
      for c in jsondecode(definition.container_definitions) : [
        for secret in try(c.secrets, []) : anytrue([for arn in values(var.secret_arns) : startswith(secret.valueFrom, arn)])
      ]
    ]]))
    error_message = "a secret is an ARN of Secrets Manager"
  }
  assert {
    condition = alltrue(flatten([for definition in values(aws_ecs_task_definition.this) : [
      for c in jsondecode(definition.container_definitions) : [
        for variable in try(c.environment, []) :
        !can(regex("(SECRET|TOKEN|PASSWORD|API_KEY|PAGERDUTY|SLACK)", variable.name)) && !can(regex("://[^/]*@", variable.value))
      ]
    ]]))
    error_message = "no secret in the clear, and no URL with a password"
  }
  assert {
    condition = {
      for process, definition in aws_ecs_task_definition.this : process => join(" ", sort(flatten([
        for c in jsondecode(definition.container_definitions) : [for secret in try(c.secrets, []) : secret.name]
      ])))
      } == {
      serving-blue  = "AUTOTRADER_SERVING__TOKEN"
      serving-green = "AUTOTRADER_SERVING__TOKEN"
      trader        = "AUTOTRADER_DATABASE__URL AUTOTRADER_SERVING__TOKEN"
      controller    = "AUTOTRADER_DATABASE__URL AUTOTRADER_SERVING__TOKEN"
      api           = "AUTOTRADER_DATABASE__URL"
      exporter      = "AUTOTRADER_DATABASE__URL"
      alerts        = "AUTOTRADER_DATABASE__URL"
      mlflow        = "MLFLOW_BACKEND_STORE_URI"
      step          = "AUTOTRADER_DATABASE__LEDGER_URL AUTOTRADER_DATABASE__URL AUTOTRADER_MLFLOW__DATABASE_URL"
      prometheus    = ""
      alertmanager  = ""
      grafana       = "GF_SECURITY_ADMIN_PASSWORD"
    }
    error_message = "nobody gets a secret that it does not use"
  }
  assert {
    condition = alltrue([for process in ["serving", "trader"] : toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.execution[process].policy).Statement : statement.Resource
      if contains(statement.Action, "secretsmanager:GetSecretValue")
      ])) == toset(
      process == "serving" ? [var.secret_arns["serving-token"]] : [var.secret_arns["serving-token"], var.secret_arns["database-url"]]
    )])
    error_message = "ECS may read a process's own secrets for it"
  }
}

run "roles_may_do_what_their_process_does" {
  assert {
    condition = alltrue(flatten([for policy in concat(values(aws_iam_role_policy.task), values(aws_iam_role_policy.execution)) : [
      for statement in jsondecode(policy.policy).Statement :
      contains(["LogInToRegistry", "ListTasks", "See"], statement.Sid) == contains(statement.Resource, "*")
    ]]))
    error_message = "every resource is named, but for calls of which AWS knows none"
  }
  assert {
    condition = alltrue(flatten([for policy in concat(values(aws_iam_role_policy.task), values(aws_iam_role_policy.execution)) : [
      for statement in jsondecode(policy.policy).Statement : [for action in statement.Action : !strcontains(action, "*")]
    ]]))
    error_message = "every action is named"
  }
  assert {
    condition = alltrue(flatten([for policy in values(aws_iam_role_policy.task) : [
      for statement in jsondecode(policy.policy).Statement : [
        for action in statement.Action : can(regex("^(ecs|elasticloadbalancing):Describe", action)) || action == "ecs:ListTasks"
      ] if contains(statement.Resource, "*")
    ]]))
    error_message = "what has no resource only reads"
  }
  assert {
    condition     = join(" ", sort(keys(aws_iam_role_policy.task))) == "alertmanager alerts controller exporter grafana mlflow serving step trader"
    error_message = "the API and Prometheus do nothing on AWS"
  }
  assert {
    condition = {
      for process, policy in aws_iam_role_policy.task : process => flatten([
        for statement in jsondecode(policy.policy).Statement : statement.Resource if contains(statement.Action, "iam:PassRole")
      ])
      if length([for statement in jsondecode(policy.policy).Statement : 1 if contains(statement.Action, "iam:PassRole")]) > 0
      } == {
      controller = ["arn:aws:iam::123456789012:role/autotrader-dev-serving-task", "arn:aws:iam::123456789012:role/autotrader-dev-serving-execution"]
    }
    error_message = "the controller alone passes roles, and the colours' alone"
  }
  assert {
    condition = [for process, policy in aws_iam_role_policy.task : process if anytrue(flatten([
      for statement in jsondecode(policy.policy).Statement : [for action in statement.Action : contains(["ecs:UpdateService", "elasticloadbalancing:ModifyListener"], action)]
    ]))] == ["controller"]
    error_message = "the controller alone changes services and traffic"
  }
  assert {
    condition = alltrue([for policy in values(aws_iam_role_policy.task) : alltrue([
      for statement in jsondecode(policy.policy).Statement :
      !contains(statement.Action, "s3:DeleteObject") || alltrue([for resource in statement.Resource : contains(["arn:aws:s3:::acme-data/lake/*", "arn:aws:s3:::acme-models/mlflow/*", "arn:aws:s3:::acme-backups/sets/*"], resource)])
    ])])
    error_message = "nobody deletes from the archive or the releases, and of the backups only sets"
  }
  assert {
    condition = alltrue([for role in concat(values(aws_iam_role.task), values(aws_iam_role.execution)) :
    jsondecode(role.assume_role_policy).Statement[0].Condition.StringEquals["aws:SourceAccount"] == "123456789012"])
    error_message = "ECS takes the roles on for this account alone"
  }
}

run "what_watches_is_told_all_of_it" {
  command = plan

  assert {
    condition = alltrue([for name, given in {
      "/prometheus/prometheus.yml"                               = "prometheus"
      "/prometheus/rules/services.yml"                           = "prometheus"
      "/alertmanager/alertmanager.yml"                           = "alertmanager"
      "/var/lib/grafana/dashboards/trading_metrics.json"         = "grafana"
      "/var/lib/grafana/dashboards/system_metrics.json"          = "grafana"
      "/var/lib/grafana/dashboards/platform_operations.json"     = "grafana"
      "/var/lib/grafana/provisioning/datasources/prometheus.yml" = "grafana"
    } : contains(keys(local.observers[given].files), name)])
    error_message = "rules, routes and dashboards are there"
  }
  assert {
    condition = alltrue([for name in ["prometheus", "alertmanager", "grafana"] :
    length(jsondecode(aws_ecs_task_definition.this[name].container_definitions)[0].environment) >= length(local.observers[name].files)])
    error_message = "each file is a variable of its container"
  }
  # ECS takes 64 KiB; the precondition of the task definitions says so, this says how far away we are.
  assert {
    condition     = alltrue([for name, definition in aws_ecs_task_definition.this : length(definition.container_definitions) < 32768])
    error_message = "Expected every task definition below 32 KiB, were ${join(", ", [for name, definition in aws_ecs_task_definition.this : "${name} ${length(definition.container_definitions)}"])}: beyond 64 KiB rules and dashboards have to come by S3."
  }
  assert {
    condition = alltrue([for name in ["trader", "controller", "api", "exporter", "alerts", "step"] : contains(
      jsondecode(aws_ecs_task_definition.this[name].container_definitions)[0].environment,
      { name = "AUTOTRADER_ALERTS__ALERTMANAGER_URL", value = "http://alertmanager.autotrader-dev.internal:9093" },
    )])
    error_message = "whoever writes a message knows that Alertmanager alone tells people"
  }
  assert {
    condition = {
      for name in ["exporter", "alerts", "step"] : name => one([
        for mount in jsondecode(aws_ecs_task_definition.this[name].container_definitions)[0].mountPoints : mount.readOnly if mount.sourceVolume == "home"
      ])
    } == { exporter = true, alerts = false, step = false }
    error_message = "the exporter writes nothing where steps do"
  }
  assert {
    condition     = length(aws_service_discovery_service.process["exporter"].name) > 0 && !contains(keys(aws_service_discovery_service.process), "alerts")
    error_message = "Prometheus finds the exporter; the delivery of alerts answers nobody"
  }
}

run "airflow_is_asked_by_whom_it_concerns_and_by_each_as_little_as_may_be" {
  command = plan

  variables {
    mwaa_environment = "autotrader-dev"
  }

  assert {
    condition = {
      for name, policy in aws_iam_role_policy.task : name => one([
        for statement in jsondecode(policy.policy).Statement : statement.Resource if contains(statement.Action, "airflow:InvokeRestApi")
      ]) if strcontains(policy.policy, "airflow:")
      } == {
      alerts   = ["arn:aws:airflow:eu-west-1:123456789012:role/autotrader-dev/Viewer"]
      api      = ["arn:aws:airflow:eu-west-1:123456789012:role/autotrader-dev/User"]
      exporter = ["arn:aws:airflow:eu-west-1:123456789012:role/autotrader-dev/Viewer"]
      step     = ["arn:aws:airflow:eu-west-1:123456789012:role/autotrader-dev/Viewer"]
    }
    error_message = "who tells of runs sees them, the API may start and end them, nobody else asks"
  }
  assert {
    condition = toset([for name in ["trader", "controller", "api", "exporter", "alerts", "step"] : name if contains(
      jsondecode(aws_ecs_task_definition.this[name].container_definitions)[0].environment,
      { name = "AUTOTRADER_AIRFLOW__MWAA_ENVIRONMENT", value = "autotrader-dev" }
    )]) == toset(["alerts", "api", "exporter", "step"])
    error_message = "and is told which environment it is"
  }
}

run "the_exporter_looks_and_changes_nothing" {
  assert {
    condition = one([for volume in aws_ecs_task_definition.this["exporter"].volume :
      volume.efs_volume_configuration[0].authorization_config[0].access_point_id if volume.name == "home"
    ]) == aws_efs_access_point.this["step"].id
    error_message = "health checks are steps: what they found is in their folder, which is its home"
  }
  assert {
    condition = alltrue(flatten([for statement in jsondecode(aws_iam_role_policy.task["exporter"].policy).Statement : [
      for action in statement.Action : contains([
        "s3:ListBucket", "s3:GetObject", "kms:Decrypt", "elasticfilesystem:ClientMount", "ecs:DescribeServices",
        "ecs:DescribeTasks", "ecs:ListTasks", "ecs:DescribeTaskDefinition",
      ], action) || startswith(action, "elasticloadbalancing:Describe")
    ]]))
    error_message = "it reads the lake, the steps' folder and the state of the colours"
  }
  assert {
    condition = alltrue([for statement in jsondecode(aws_efs_file_system_policy.this.policy).Statement :
    statement.Action == ["elasticfilesystem:ClientMount"] if statement.Sid == "ReadExporter"])
    error_message = "the file system lets it read, too, and no more"
  }
}

run "a_backup_is_made_every_day" {
  command = plan

  assert {
    condition = alltrue([
      aws_scheduler_schedule.backup.schedule_expression == "cron(30 2 * * ? *)",
      aws_scheduler_schedule.backup.state == "ENABLED",
      jsondecode(aws_scheduler_schedule.backup.target[0].input).containerOverrides == [{ command = ["python", "-m", "autotrader.continuity", "backup"], name = "step" }],
      aws_scheduler_schedule.backup.target[0].ecs_parameters[0].propagate_tags == "TASK_DEFINITION",
    ])
    error_message = "by a step's task, which Airflow may then stop, too"
  }
  assert {
    condition = alltrue([for variable in [
      { name = "AUTOTRADER_BACKUP__URI", value = "s3://acme-backups/sets" },
      { name = "AUTOTRADER_MLFLOW__ARTIFACTS_URI", value = "s3://acme-models/mlflow" },
    ] : contains(jsondecode(aws_ecs_task_definition.this["step"].container_definitions)[0].environment, variable)])
    error_message = "it knows where backups go and where MLflow's files are"
  }
}

run "production_is_encrypted_and_guarded" {
  command = plan

  variables {
    environment     = "production"
    certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
    endpoint        = "https://predictions.example.com"
  }

  assert {
    condition = alltrue([
      aws_lb_listener.main.protocol == "HTTPS", aws_lb_listener.main.port == 443,
      aws_lb_listener.main.ssl_policy == "ELBSecurityPolicy-TLS13-1-3-2021-06",
      aws_lb_listener.main.certificate_arn == var.certificate_arn,
    ])
    error_message = "HTTPS, TLS 1.3"
  }
  assert {
    condition = alltrue([
      aws_lb_listener.redirect[0].port == 80,
      aws_lb_listener.redirect[0].default_action[0].redirect[0].protocol == "HTTPS",
      aws_lb_listener.redirect[0].default_action[0].redirect[0].status_code == "HTTP_301",
    ])
    error_message = "HTTP is sent to HTTPS"
  }
  assert {
    condition     = aws_lb.this.enable_deletion_protection
    error_message = "production's load balancer cannot be deleted by mistake"
  }
  assert {
    condition = contains(
      jsondecode(aws_ecs_task_definition.this["controller"].container_definitions)[0].environment,
      { name = "AUTOTRADER_DEPLOYMENT__ECS_ENDPOINT", value = "https://predictions.example.com" },
    )
    error_message = "callers are told the name that the certificate is of"
  }
  assert {
    condition = alltrue([for c in jsondecode(aws_ecs_task_definition.this["serving-blue"].container_definitions) :
    contains(c.environment, { name = "AUTOTRADER_DATABASE__URL", value = "postgresql://db.internal:5432" })])
    error_message = "production's settings ask every process where the database is; the service gets no credential for it"
  }
}

run "what_is_chosen_gets_its_secret" {
  command = plan

  variables {
    venues      = ["binance", "oanda"]
    trading     = { broker = "binance", live = true }
    alerts      = { pagerduty = true, slack = true }
    api_metrics = true
    backup      = { plan_id = "plan", role_arn = "arn:aws:iam::123456789012:role/backup" }
    mail        = { host = "smtp.example.com", user = "reports", sender = "a@example.com", recipients = ["b@example.com"] }
    ib_gateway  = { image = "registry.example.com/ib-gateway:10.30" }
  }

  assert {
    condition = {
      for process in ["trader", "alerts", "step", "alertmanager", "ib-gateway"] : process => {
        for secret in jsondecode(aws_ecs_task_definition.this[process].container_definitions)[0].secrets :
        secret.name => trimprefix(secret.valueFrom, "arn:aws:secretsmanager:eu-west-1:123456789012:secret:autotrader/dev/")
      }
      } == {
      trader = {
        AUTOTRADER_BINANCE__API_KEY    = "binance-AAAAAA:api_key::"
        AUTOTRADER_BINANCE__API_SECRET = "binance-AAAAAA:api_secret::"
        AUTOTRADER_DATABASE__URL       = "database-url-AAAAAA"
        AUTOTRADER_MAIL__PASSWORD      = "mail-AAAAAA"
        AUTOTRADER_OANDA__TOKEN        = "oanda-AAAAAA"
        AUTOTRADER_SERVING__TOKEN      = "serving-token-AAAAAA"
      }
      alerts = {
        AUTOTRADER_ALERTS__PAGERDUTY_KEY = "pagerduty-AAAAAA"
        AUTOTRADER_ALERTS__SLACK_URL     = "slack-AAAAAA"
        AUTOTRADER_DATABASE__URL         = "database-url-AAAAAA"
        AUTOTRADER_MAIL__PASSWORD        = "mail-AAAAAA"
      }
      step = {
        AUTOTRADER_DATABASE__LEDGER_URL = "ledger-url-AAAAAA"
        AUTOTRADER_DATABASE__URL        = "database-url-AAAAAA"
        AUTOTRADER_MAIL__PASSWORD       = "mail-AAAAAA"
        AUTOTRADER_MLFLOW__DATABASE_URL = "mlflow-database-url-AAAAAA"
        AUTOTRADER_OANDA__TOKEN         = "oanda-AAAAAA"
      }
      alertmanager = {
        MAIL_PASSWORD  = "mail-AAAAAA"
        PAGERDUTY_KEY  = "pagerduty-AAAAAA"
        PLATFORM_TOKEN = "metrics-token-AAAAAA"
        SLACK_URL      = "slack-AAAAAA"
      }
      ib-gateway = { TWS_PASSWORD = "ibkr-AAAAAA:password::", TWS_USERID = "ibkr-AAAAAA:username::" }
    }
    error_message = "keys of the broker, token of the venue, password of the mail server: to whom it uses, no other"
  }
  assert {
    condition = alltrue([
      [for job in yamldecode(local.observers.prometheus.files["/prometheus/prometheus.yml"]).scrape_configs :
      job.authorization.credentials_file if job.job_name == "api"] == ["/prometheus/metrics_token"],
      jsondecode(aws_ecs_task_definition.this["prometheus"].container_definitions)[0].secrets == [{ name = "METRICS_TOKEN", valueFrom = var.secret_arns["metrics-token"] }],
      strcontains(jsondecode(aws_ecs_task_definition.this["prometheus"].container_definitions)[0].command[0], "printf %s \"$METRICS_TOKEN\" > /prometheus/metrics_token"),
    ])
    error_message = "Prometheus shows the API a token, from a file that the secret is written into"
  }
  assert {
    condition = alltrue([for receiver in yamldecode(local.observers.alertmanager.files["/alertmanager/alertmanager.yml"]).receivers :
    length(receiver) == 2])
    error_message = "every way to people and to the platform is set up"
  }
  assert {
    condition = alltrue([for variable, path in local.observers.alertmanager.secrets : alltrue([
      strcontains(jsondecode(aws_ecs_task_definition.this["alertmanager"].container_definitions)[0].command[0], format("printf %%s \"$%s\" > %s", variable, path)),
      strcontains(local.observers.alertmanager.files["/alertmanager/alertmanager.yml"], path),
    ])])
    error_message = "Alertmanager reads each of its secrets from the file that it is written into"
  }
  assert {
    condition     = aws_backup_selection.files[0].plan_id == "plan"
    error_message = "the file system is in the plan of backups"
  }
  assert {
    condition     = aws_ecs_service.process["ib-gateway"].deployment_maximum_percent == 100
    error_message = "one login, one gateway"
  }
}

run "production_needs_a_certificate" {
  command = plan
  variables {
    environment = "production"
  }
  expect_failures = [var.certificate_arn]
}

run "a_certificate_needs_its_name" {
  command = plan
  variables {
    certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
  }
  expect_failures = [var.endpoint]
}

run "settings_hold_no_secret" {
  command = plan
  variables {
    settings = { AUTOTRADER_BINANCE__API_SECRET = "x" }
  }
  expect_failures = [var.settings]
}

run "images_name_a_version" {
  command = plan
  variables {
    image_tags = { serving = "latest", platform = "v1.0.0" }
  }
  expect_failures = [var.image_tags]
}

run "paper_is_not_live" {
  command = plan
  variables {
    trading = { live = true }
  }
  expect_failures = [var.trading]
}
