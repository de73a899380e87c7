# serving.<domain>: a record of this region's load balancer, healthy while one colour at least has a healthy task. Route 53
# cannot reach an internal load balancer, and its own look at one calls it unhealthy while a colour has no task at all,
# which is how the idle colour lives. So an alarm watches each colour, and one of the two is enough.

locals {
  failover = var.domain == null ? [] : keys(var.target_group_suffixes)
}

resource "aws_cloudwatch_metric_alarm" "color" {
  #checkov:skip=CKV_AWS_319:it steers DNS and calls nobody; people are called by the alarms of the module monitoring
  for_each = toset(local.failover)

  alarm_name          = "${local.name}-${each.key}-answers"
  alarm_description   = "The ${each.key} colour has no healthy task. Read by Route 53: serving.${var.domain} fails over when both say so."
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HealthyHostCount"
  statistic           = "Maximum"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 3
  treat_missing_data  = "breaching"
  actions_enabled     = false

  dimensions = {
    LoadBalancer = var.load_balancer.arn_suffix
    TargetGroup  = var.target_group_suffixes[each.key]
  }
}

data "aws_region" "current" {}

resource "aws_route53_health_check" "color" {
  for_each = aws_cloudwatch_metric_alarm.color

  type                            = "CLOUDWATCH_METRIC"
  cloudwatch_alarm_name           = each.value.alarm_name
  cloudwatch_alarm_region         = data.aws_region.current.name
  insufficient_data_health_status = "Unhealthy"

  tags = { Name = "${local.name}-${each.key}" }
}

resource "aws_route53_health_check" "serving" {
  count = var.domain == null ? 0 : 1

  type                   = "CALCULATED"
  child_health_threshold = 1
  child_healthchecks     = [for check in aws_route53_health_check.color : check.id]

  tags = { Name = "${local.name}-serving" }
}

resource "aws_route53_record" "failover" {
  count = var.domain == null ? 0 : 1

  zone_id         = var.public_zone_id
  name            = "serving.${var.domain}"
  type            = "A"
  set_identifier  = data.aws_region.current.name # by which dr_failover.sh knows whose record it is
  health_check_id = aws_route53_health_check.serving[0].id

  failover_routing_policy {
    type = var.failover_role
  }

  alias {
    name                   = var.load_balancer.dns_name
    zone_id                = var.load_balancer.zone_id
    evaluate_target_health = false
  }

  # A failover makes the other region's record the primary one; an apply leaves it so.
  lifecycle {
    ignore_changes = [failover_routing_policy]
  }
}
