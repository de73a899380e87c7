# Who may speak to whom, as one table. A flow is a rule out of the one group and a rule into the other;
# what is not in the table is refused.

locals {
  groups = {
    alb        = "Internal load balancer of the prediction service"
    serving    = "Prediction service, both colours, and its shipper"
    trader     = "Trader"
    controller = "Controller of rollouts"
    api        = "HTTP API"
    exporter   = "What is read from stores, for Prometheus"
    alerts     = "Delivery of alerts"
    mlflow     = "MLflow server"
    step       = "Steps of the DAGs, run once"
    monitoring = "Prometheus, Alertmanager, Grafana"
    ib-gateway = "Interactive Brokers gateway"
    airflow    = "Amazon MWAA"
    database   = "RDS PostgreSQL"
    cache      = "ElastiCache Redis"
    efs        = "File system of what outlives a task"
    endpoints  = "VPC endpoints of AWS services"
  }

  ports = {
    http         = 80
    https        = 443
    postgres     = 5432
    redis        = 6379
    serving      = 8000
    api          = 8010
    mlflow       = 5000
    metrics      = 9091
    exporter     = 9092
    prometheus   = 9090
    alertmanager = 9093
    grafana      = 3000
    ib_live      = 4001
    ib_paper     = 4002
    nfs          = 2049
    smtp         = 587
  }

  # Who keeps state, and who asks for predictions.
  stateful = ["trader", "controller", "api", "step"]
  callers  = ["trader", "controller", "step"]

  flows = concat(
    flatten([for from in local.callers : [
      { from = from, to = "alb", port = "https", why = "predictions" },
      { from = from, to = "alb", port = "http", why = "predictions where no certificate is given, else a redirect" },
    ]]),
    flatten([for from in local.stateful : [
      { from = from, to = "database", port = "postgres", why = "state" },
      { from = from, to = "cache", port = "redis", why = "cache" },
      { from = from, to = "mlflow", port = "mlflow", why = "registry" },
    ]]),
    [
      { from = "alb", to = "serving", port = "serving", why = "predictions and health checks" },
      { from = "mlflow", to = "database", port = "postgres", why = "runs and registry" },
      { from = "exporter", to = "database", port = "postgres", why = "what it tells of" },
      { from = "exporter", to = "mlflow", port = "mlflow", why = "whether it answers" },
      { from = "exporter", to = "alb", port = "https", why = "how the colours are" },
      { from = "exporter", to = "alb", port = "http", why = "how the colours are, where no certificate is given" },
      { from = "exporter", to = "efs", port = "nfs", why = "what health checks found" },
      { from = "alerts", to = "database", port = "postgres", why = "the outbox" },
      { from = "alerts", to = "monitoring", port = "alertmanager", why = "alerts from the outbox" },
      { from = "alerts", to = "monitoring", port = "prometheus", why = "whether what was told still holds" },
      { from = "step", to = "monitoring", port = "prometheus", why = "service levels of the weekly report" },
      { from = "trader", to = "ib-gateway", port = "ib_live", why = "orders, live" },
      { from = "trader", to = "ib-gateway", port = "ib_paper", why = "orders, paper" },
      { from = "step", to = "ib-gateway", port = "ib_live", why = "market data, live" },
      { from = "step", to = "ib-gateway", port = "ib_paper", why = "market data, paper" },
      { from = "monitoring", to = "serving", port = "serving", why = "metrics" },
      { from = "monitoring", to = "trader", port = "metrics", why = "metrics" },
      { from = "monitoring", to = "controller", port = "metrics", why = "metrics" },
      { from = "monitoring", to = "exporter", port = "exporter", why = "metrics" },
      { from = "monitoring", to = "api", port = "api", why = "metrics and alerts" },
      { from = "monitoring", to = "monitoring", port = "prometheus", why = "Grafana's source; Prometheus itself" },
      { from = "monitoring", to = "monitoring", port = "alertmanager", why = "alerts" },
      { from = "monitoring", to = "monitoring", port = "grafana", why = "metrics" },
      { from = "monitoring", to = "efs", port = "nfs", why = "what they keep" },
    ],
    [for from in ["trader", "controller", "alerts", "step"] : { from = from, to = "efs", port = "nfs", why = "home" }],
    [for from in setsubtract(keys(local.groups), ["alb", "database", "cache", "efs", "endpoints"]) :
      { from = from, to = "endpoints", port = "https", why = "images, logs, secrets" }
    ],
  )
  flows_by_key = { for flow in local.flows : "${flow.from}-${flow.to}-${flow.port}" => flow }

  # Venues, brokers, alert channels and AWS services without an endpoint. The prediction service and MLflow have none.
  https_out = ["trader", "controller", "api", "exporter", "alerts", "step", "monitoring", "ib-gateway", "airflow"]
  # The gateway endpoint is a route: its addresses need a rule of their own where 443 is not open anyway.
  s3_only = ["serving", "mlflow"]
  mail    = ["controller", "api", "alerts", "trader", "step", "monitoring"]
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:attached by the modules compute, storage, airflow and monitoring, which get the ids
  for_each = local.groups

  name        = "${local.name}-${each.key}"
  description = each.value
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${local.name}-${each.key}" }
}

resource "aws_vpc_security_group_egress_rule" "flow" {
  for_each = local.flows_by_key

  security_group_id            = aws_security_group.this[each.value.from].id
  referenced_security_group_id = aws_security_group.this[each.value.to].id
  ip_protocol                  = "tcp"
  from_port                    = local.ports[each.value.port]
  to_port                      = local.ports[each.value.port]
  description                  = "To ${each.value.to}: ${each.value.why}"
}

resource "aws_vpc_security_group_ingress_rule" "flow" {
  for_each = local.flows_by_key

  security_group_id            = aws_security_group.this[each.value.to].id
  referenced_security_group_id = aws_security_group.this[each.value.from].id
  ip_protocol                  = "tcp"
  from_port                    = local.ports[each.value.port]
  to_port                      = local.ports[each.value.port]
  description                  = "From ${each.value.from}: ${each.value.why}"
}

resource "aws_vpc_security_group_egress_rule" "https" {
  for_each = toset(local.https_out)

  security_group_id = aws_security_group.this[each.key].id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = local.ports.https
  to_port           = local.ports.https
  description       = "To venues, alert channels and AWS services, which have no fixed addresses"
}

resource "aws_vpc_security_group_egress_rule" "s3" {
  for_each = toset(local.s3_only)

  security_group_id = aws_security_group.this[each.key].id
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  ip_protocol       = "tcp"
  from_port         = local.ports.https
  to_port           = local.ports.https
  description       = "To S3 through its endpoint"
}

resource "aws_vpc_security_group_egress_rule" "mail" {
  for_each = toset(local.mail)

  security_group_id = aws_security_group.this[each.key].id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = local.ports.smtp
  to_port           = local.ports.smtp
  description       = "To the mail server"
}

resource "aws_vpc_security_group_egress_rule" "broker" {
  for_each = toset([for port in var.broker_ports : tostring(port)])

  security_group_id = aws_security_group.this["ib-gateway"].id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = tonumber(each.key)
  to_port           = tonumber(each.key)
  description       = "To Interactive Brokers"
}

# Amazon MWAA asks for a group whose members may speak to each other:
# https://docs.aws.amazon.com/mwaa/latest/userguide/vpc-security.html
resource "aws_vpc_security_group_ingress_rule" "airflow_itself" {
  security_group_id            = aws_security_group.this["airflow"].id
  referenced_security_group_id = aws_security_group.this["airflow"].id
  ip_protocol                  = "-1"
  description                  = "MWAA's workers, scheduler, database and web server among themselves"
}

resource "aws_vpc_security_group_egress_rule" "airflow_itself" {
  security_group_id            = aws_security_group.this["airflow"].id
  referenced_security_group_id = aws_security_group.this["airflow"].id
  ip_protocol                  = "-1"
  description                  = "MWAA's workers, scheduler, database and web server among themselves"
}
