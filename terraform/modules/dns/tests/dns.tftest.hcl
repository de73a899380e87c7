mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "eu-west-1" }
  }
}

variables {
  environment           = "production"
  vpc_id                = "vpc-1"
  load_balancer         = { dns_name = "internal-1.eu-west-1.elb.amazonaws.com", zone_id = "Z1", arn_suffix = "app/autotrader-production/1" }
  target_group_suffixes = { blue = "targetgroup/blue/1", green = "targetgroup/green/1" }
  database_address      = "db.eu-west-1.rds.amazonaws.com"
  domain                = "trading.test"
  public_zone_id        = "Z2"
}

run "without_a_domain_there_are_private_names_alone" {
  command = plan

  variables {
    environment    = "dev"
    domain         = null
    public_zone_id = null
  }

  assert {
    condition     = aws_route53_zone.private.name == "aws.autotrader-dev.internal" && aws_route53_record.serving.name == "serving.aws.autotrader-dev.internal"
    error_message = "The load balancer has a private name."
  }
  assert {
    condition     = length(aws_route53_record.failover) == 0 && length(aws_route53_health_check.color) == 0
    error_message = "Nothing public."
  }
}

run "the_primary_fails_over_when_neither_colour_answers" {
  command = plan

  assert {
    condition     = aws_route53_record.failover[0].failover_routing_policy[0].type == "PRIMARY" && aws_route53_record.failover[0].set_identifier == "eu-west-1"
    error_message = "The record of the region that serves."
  }
  assert {
    condition     = aws_route53_health_check.serving[0].child_health_threshold == 1 && length(aws_route53_health_check.color) == 2
    error_message = "One colour of the two is enough."
  }
  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.color : alarm.treat_missing_data == "breaching"])
    error_message = "No data is not health."
  }
  assert {
    condition     = !aws_route53_record.failover[0].alias[0].evaluate_target_health
    error_message = "An idle colour has no task: Route 53's own evaluation would call that unhealthy."
  }
}

run "the_standby_is_second_and_has_no_database_yet" {
  command = plan

  variables {
    failover_role    = "SECONDARY"
    database_address = null
  }

  assert {
    condition     = aws_route53_record.failover[0].failover_routing_policy[0].type == "SECONDARY"
    error_message = "Asked when the primary is not healthy."
  }
  assert {
    condition     = aws_route53_record.database.records == toset(["not-restored.invalid"])
    error_message = "The name is there, and leads nowhere yet."
  }
}

run "another_role_is_refused" {
  command = plan

  variables {
    failover_role = "TERTIARY"
  }

  expect_failures = [var.failover_role]
}
