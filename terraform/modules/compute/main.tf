# The cluster and what all its tasks share: names, logs, names in DNS.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  # src/autotrader/config/aws_names.py is the agreement on names.
  name      = "autotrader-${var.environment}"
  namespace = "${local.name}.internal"
  colors    = toset(["blue", "green"])

  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  ecs_arn   = "arn:${local.partition}:ecs:${var.region}:${local.account}"

  # Ports that others reach; the processes bind them to all addresses of their task.
  ports = {
    serving      = 8000
    trader       = 9091
    exporter     = 9092
    api          = 8010
    mlflow       = 5000
    prometheus   = 9090
    alertmanager = 9093
    grafana      = 3000
    ib-gateway   = var.ib_gateway.port
  }
}

resource "aws_ecs_cluster" "this" {
  name = local.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]

  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
  }
}

resource "aws_cloudwatch_log_group" "process" {
  for_each = local.tasks

  name              = "/autotrader/${var.environment}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_service_discovery_private_dns_namespace" "this" {
  name        = local.namespace
  description = "What the processes of ${local.name} call each other"
  vpc         = var.vpc_id
}

resource "aws_service_discovery_service" "process" {
  for_each = { for name, task in local.tasks : name => task if task.is_service && task.port != null }

  name = each.key

  dns_config {
    namespace_id   = aws_service_discovery_private_dns_namespace.this.id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 10
    }
  }

  # ECS says what is healthy; AWS would otherwise offer health checks of its own.
  health_check_custom_config {
    failure_threshold = 1
  }
}
