# Every task definition, and the services that are no colours.

locals {
  # A fall-back is needed by nobody: two traders on one account, two controllers, two writers of one file, two
  # exporters that count the same things would harm. These services end what runs before they start anew.
  singles = [
    "trader", "controller", "exporter", "alerts", "mlflow", "prometheus", "alertmanager", "grafana", "ib-gateway",
  ]

  tasks = merge(
    { for name in keys(local.processes) : name => {
      role           = name
      security_group = name
      size           = var.sizes[name]
      containers     = jsonencode(local.process_containers[name])
      volumes        = ["home", "tmp"]
      port           = try(local.ports[name], null)
      is_service     = name != "step"
      storage_gib    = name == "step" ? 100 : 21
    } },
    { for color in local.colors : "serving-${color}" => {
      role           = "serving"
      security_group = "serving"
      size           = var.sizes.serving
      containers     = jsonencode(local.serving_containers[color])
      volumes        = ["home", "predictions", "release", "tmp"]
      port           = local.ports["serving"]
      is_service     = true
      storage_gib    = 30
    } },
    { for name in keys(local.observers) : name => {
      role           = name
      security_group = "monitoring"
      size           = var.sizes[name]
      containers     = jsonencode(local.observer_containers[name])
      volumes        = keys(local.observers[name].mounts)
      port           = local.ports[name]
      is_service     = true
      storage_gib    = name == "prometheus" ? 60 : 21
    } },
    { for name in ["ib-gateway"] : name => {
      role           = name
      security_group = name
      size           = var.sizes[name]
      containers     = jsonencode(local.gateway_containers)
      volumes        = []
      port           = local.ports[name]
      is_service     = true
      storage_gib    = 21
    } if var.ib_gateway.image != null },
  )

  services = { for name, task in local.tasks : name => task if task.is_service && task.role != "serving" }
}

resource "aws_ecs_task_definition" "this" {
  # checkov:skip=CKV_AWS_336: Each container of ours and of monitoring has a read-only root (tests/compute.tftest.hcl); the IB gateway's image, which is off by default, writes to its own.
  for_each = local.tasks

  family                   = "${local.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.size.cpu
  memory                   = each.value.size.memory
  task_role_arn            = aws_iam_role.task[each.value.role].arn
  execution_role_arn       = aws_iam_role.execution[each.value.role].arn
  container_definitions    = each.value.containers
  # A colour may be running a revision that was copied from an older one, and a rollback needs it.
  skip_destroy = each.value.role == "serving"
  # Tasks inherit it: Airflow may stop those of a step, and no other.
  tags = { process = each.key }

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  # 21 GiB is the least that may be asked for; 20 come without asking.
  ephemeral_storage {
    size_in_gib = each.value.storage_gib
  }

  dynamic "volume" {
    for_each = toset(each.value.volumes)

    content {
      name = volume.key

      dynamic "efs_volume_configuration" {
        for_each = [for owner in [try(local.folders[each.key], null)] : aws_efs_access_point.this[owner].id
        if volume.key == try(local.kept[owner].volume, null)]

        content {
          file_system_id     = aws_efs_file_system.this.id
          transit_encryption = "ENABLED"

          authorization_config {
            access_point_id = efs_volume_configuration.value
            iam             = "ENABLED"
          }
        }
      }
    }
  }

  lifecycle {
    precondition {
      condition     = length(each.value.containers) < 65536
      error_message = "Expected the task definition of ${each.key} below 64 KiB, which is all that ECS takes: give it fewer rules or dashboards."
    }
  }
}

resource "aws_ecs_service" "process" {
  for_each = local.services

  name            = "${local.name}-${each.key}"
  cluster         = aws_ecs_cluster.this.id
  task_definition = aws_ecs_task_definition.this[each.key].arn
  # Never more than one, of any of them: see `singles`. What an operator stopped, an apply does not start.
  desired_count                      = var.standby ? 0 : 1
  launch_type                        = "FARGATE"
  platform_version                   = "LATEST"
  propagate_tags                     = "SERVICE"
  deployment_minimum_healthy_percent = contains(local.singles, each.key) ? 0 : 100
  deployment_maximum_percent         = contains(local.singles, each.key) ? 100 : 200
  # Rebalancing starts a second task before it ends the first.
  availability_zone_rebalancing = contains(local.singles, each.key) ? "DISABLED" : "ENABLED"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.private_subnet_ids
    security_groups  = [var.security_group_ids[each.value.security_group]]
    assign_public_ip = false
  }

  dynamic "service_registries" {
    for_each = each.value.port == null ? [] : [aws_service_discovery_service.process[each.key].arn]

    content {
      registry_arn = service_registries.value
    }
  }

  depends_on = [aws_efs_mount_target.this, aws_iam_role_policy.execution, aws_iam_role_policy.task]

  lifecycle {
    ignore_changes = [desired_count]
  }
}
