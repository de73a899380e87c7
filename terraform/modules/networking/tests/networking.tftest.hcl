mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-west-1c", "eu-west-1a", "eu-west-1b"] }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-west-1" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:/autotrader/dev/flow" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/flow-logs" }
  }
}

variables {
  environment             = "dev"
  availability_zone_count = 2
}

run "two_zones_in_dev" {
  command = plan

  assert {
    condition     = length(aws_subnet.public) == 2 && length(aws_subnet.private) == 2 && length(aws_subnet.database) == 2
    error_message = "A subnet of each kind in each of two zones."
  }
  assert {
    condition     = join(",", aws_subnet.private[*].availability_zone) == "eu-west-1a,eu-west-1b"
    error_message = "Zones are taken in alphabetic order, so that a new one moves nothing."
  }
  assert {
    condition     = length(aws_nat_gateway.this) == 2 && length(aws_route.private) == 2
    error_message = "Each zone has its own NAT gateway and its own way to it."
  }
}

run "three_zones_in_production" {
  command = plan

  variables {
    environment             = "production"
    availability_zone_count = 3
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3
    error_message = "A NAT gateway in each of three zones."
  }
  assert {
    condition = length(distinct(concat(
      aws_subnet.public[*].cidr_block, aws_subnet.private[*].cidr_block, aws_subnet.database[*].cidr_block,
    ))) == 9
    error_message = "Nine different ranges."
  }
  assert {
    condition     = aws_subnet.private[2].cidr_block == "10.0.48.0/20" && aws_subnet.database[2].cidr_block == "10.0.10.0/24"
    error_message = "The ranges are fixed by position: 10.0.16.0/20 and on for private, 10.0.8.0/24 and on for databases."
  }
}

run "the_subnets_of_databases_have_no_way_out" {
  command = apply

  assert {
    condition     = alltrue([for association in aws_route_table_association.database : association.route_table_id == aws_route_table.database.id])
    error_message = "The database subnets have a route table of their own."
  }
  assert {
    condition     = alltrue([for route in concat([aws_route.public], aws_route.private) : route.route_table_id != aws_route_table.database.id])
    error_message = "No route leads out of it."
  }
  assert {
    condition     = alltrue([for subnet in concat(aws_subnet.public, aws_subnet.private, aws_subnet.database) : subnet.map_public_ip_on_launch != true])
    error_message = "Nothing gets a public address by itself."
  }
}

run "stores_are_reached_by_the_services_alone" {
  command = apply

  assert {
    condition = toset([
      for key, rule in aws_vpc_security_group_ingress_rule.flow : split("-", key)[0]
      if rule.security_group_id == aws_security_group.this["database"].id
    ]) == toset(["trader", "controller", "api", "exporter", "alerts", "mlflow", "step"])
    error_message = "PostgreSQL is for trader, controller, API, exporter, delivery of alerts, MLflow and steps."
  }
  assert {
    condition = toset([
      for key, rule in aws_vpc_security_group_ingress_rule.flow : split("-", key)[0]
      if rule.security_group_id == aws_security_group.this["cache"].id
    ]) == toset(["trader", "controller", "api", "step"])
    error_message = "Redis is for trader, controller, API and steps."
  }
  assert {
    condition = toset([
      for key, rule in aws_vpc_security_group_ingress_rule.flow : split("-", key)[0]
      if rule.security_group_id == aws_security_group.this["efs"].id
    ]) == toset(["trader", "controller", "exporter", "alerts", "step", "monitoring"])
    error_message = "The file system is for those that compute's files.tf gives a folder."
  }
  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.flow : rule.cidr_ipv4 == null && rule.from_port == rule.to_port])
    error_message = "What comes in comes from a group, to one port."
  }
  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_egress_rule.https : rule.security_group_id != aws_security_group.this["serving"].id])
    error_message = "The prediction service has no way to the internet."
  }
  assert {
    condition = {
      for to in ["exporter", "alerts"] : to => [for flow in local.flows : flow.from if flow.to == to]
    } == { exporter = ["monitoring"], alerts = [] }
    error_message = "The exporter's page asks for no token, so that Prometheus alone reaches it; nobody asks the delivery of alerts anything."
  }
  assert {
    condition     = [for flow in local.flows : flow.from if flow.to == "monitoring" && flow.port == "alertmanager"] == ["alerts", "monitoring"]
    error_message = "Whoever raises an alert writes it into the outbox; its delivery and Prometheus alone tell Alertmanager."
  }
  assert {
    condition     = !contains(local.https_out, "serving") && !contains(local.https_out, "mlflow")
    error_message = "The prediction service and MLflow have no way to the internet."
  }
  assert {
    condition     = [for flow in local.flows : flow.from if flow.to == "monitoring" && flow.port == "prometheus"] == ["alerts", "step", "monitoring"]
    error_message = "Prometheus is asked by Grafana, by the weekly report and by who ends alerts that nobody ended."
  }
  assert {
    condition     = alltrue([for name in ["database", "cache", "efs", "endpoints"] : !contains([for flow in local.flows : flow.from], name)])
    error_message = "Stores open no connection."
  }
}

run "endpoints_serve_this_account_alone" {
  command = plan

  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway" && toset(keys(aws_vpc_endpoint.interface)) == toset(["ecr.api", "ecr.dkr", "logs", "secretsmanager"])
    error_message = "S3 by gateway; ECR, logs and Secrets Manager by interface (SPEC 16)."
  }
  assert {
    condition     = jsondecode(aws_vpc_endpoint.s3.policy).Statement[0].Condition.StringEquals["aws:ResourceAccount"] == "123456789012"
    error_message = "S3 is reached for our own buckets."
  }
}

run "flow_logs_are_encrypted_and_kept" {
  command = plan

  assert {
    condition     = aws_flow_log.vpc.traffic_type == "ALL" && aws_cloudwatch_log_group.flow.name == "/autotrader/dev/flow" && aws_cloudwatch_log_group.flow.retention_in_days == 365
    error_message = "Accepted and refused traffic, for a year."
  }
}

run "a_vpc_of_another_size_is_refused" {
  command = plan

  variables {
    cidr_block = "10.0.0.0/20"
  }

  expect_failures = [var.cidr_block]
}

run "one_zone_is_refused" {
  command = plan

  variables {
    availability_zone_count = 1
  }

  expect_failures = [var.availability_zone_count]
}
