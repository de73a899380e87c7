# The prediction service in two colours. A deployment copies the newest revision of a colour's task definition, says
# in it which release to serve (AUTOTRADER_RELEASE__*), and sets the service's desired count: an apply changes neither.

locals {
  release_folder = "/release/current"
  log_folder     = "/predictions"

  serving_mounts = {
    home        = { sourceVolume = "home", containerPath = local.home, readOnly = false }
    tmp         = { sourceVolume = "tmp", containerPath = "/tmp", readOnly = false }
    release     = { sourceVolume = "release", containerPath = "/release", readOnly = false }
    predictions = { sourceVolume = "predictions", containerPath = local.log_folder, readOnly = false }
  }

  # One that ended is started again in the same task, so that the prediction log of its volume outlives it.
  restarts = { enabled = true, ignoredExitCodes = [], restartAttemptPeriod = 60 }

  serving_containers = { for color in local.colors : color => [
    # Ends once the release is there and is what its digest says; the service cannot talk to AWS.
    {
      name                   = "release"
      image                  = local.images.platform
      essential              = false
      command                = ["python", "-m", "autotrader.deployment.fetch_release", "--folder", local.release_folder]
      user                   = "10001:10001"
      readonlyRootFilesystem = true
      environment            = local.environment_lists["serving"]
      linuxParameters        = local.linux_parameters
      logConfiguration       = local.log_configurations["serving-${color}"]
      mountPoints            = [local.serving_mounts.home, local.serving_mounts.tmp, local.serving_mounts.release]
    },
    # Started before the service and so ended after it: on SIGTERM it ships what the service wrote until its end.
    {
      name      = "shipper"
      image     = local.images.platform
      essential = false
      command = [
        "python", "-m", "autotrader.apps.shipping", "--log", local.log_folder,
        "--leave-seconds", "110", # of the 120 that it has to end
      ]
      user                   = "10001:10001"
      readonlyRootFilesystem = true
      restartPolicy          = local.restarts
      stopTimeout            = 120
      environment            = local.environment_lists["serving"]
      linuxParameters        = local.linux_parameters
      logConfiguration       = local.log_configurations["serving-${color}"]
      mountPoints            = [local.serving_mounts.home, local.serving_mounts.tmp, local.serving_mounts.predictions]
    },
    {
      name      = "serving"
      image     = local.images.serving
      essential = true
      command = [
        "python", "-m", "autotrader.apps.serving", "--color", color,
        "--host", "0.0.0.0", "--port", tostring(local.ports["serving"]),
        "--release", local.release_folder, "--log", "${local.log_folder}/${color}",
      ]
      user                   = "10001:10001"
      readonlyRootFilesystem = true
      restartPolicy          = local.restarts
      stopTimeout            = 30 # it has AUTOTRADER_SERVING__DRAIN_SECONDS of patience, 10
      dependsOn = [
        { containerName = "release", condition = "SUCCESS" },
        { containerName = "shipper", condition = "START" },
      ]
      portMappings     = local.port_mappings["serving"]
      environment      = local.environment_lists["serving"]
      secrets          = local.secret_lists["serving"]
      linuxParameters  = local.linux_parameters
      logConfiguration = local.log_configurations["serving-${color}"]
      mountPoints = [
        local.serving_mounts.tmp,
        merge(local.serving_mounts.release, { readOnly = true }),
        local.serving_mounts.predictions,
      ]
      healthCheck = {
        command     = ["CMD", "python", "-c", local.asks, "http://127.0.0.1:${local.ports["serving"]}/health"]
        interval    = 30
        timeout     = 5
        retries     = 3
        startPeriod = 60
      }
    },
  ] }
}

resource "aws_ecs_service" "color" {
  for_each = local.colors

  name            = "trading-${each.key}"
  cluster         = aws_ecs_cluster.this.id
  task_definition = aws_ecs_task_definition.this["serving-${each.key}"].arn
  # No release, no task: the controller asks for the first one.
  desired_count                      = 0
  launch_type                        = "FARGATE"
  platform_version                   = "LATEST"
  propagate_tags                     = "SERVICE"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  # Pulling and loading; the controller gives a colour 300 s to be ready.
  health_check_grace_period_seconds = 120

  # It stops what fails again and again. It does not roll back: which version a colour serves is the controller's
  # to decide, which would else meet another one than it asked for.
  deployment_circuit_breaker {
    enable   = true
    rollback = false
  }

  network_configuration {
    subnets          = var.private_subnet_ids
    security_groups  = [var.security_group_ids["serving"]]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.color[each.key].arn
    container_name   = "serving"
    container_port   = local.ports["serving"]
  }

  # Prometheus scrapes each task, not whichever the load balancer chooses.
  service_registries {
    registry_arn = aws_service_discovery_service.process["serving-${each.key}"].arn
  }

  # A target group takes tasks once a listener leads to it.
  depends_on = [aws_lb_listener.main, aws_lb_listener_rule.color, aws_iam_role_policy.execution, aws_iam_role_policy.task]

  lifecycle {
    ignore_changes = [task_definition, desired_count]
  }
}
