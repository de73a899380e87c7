# More tasks for a colour that runs and has much to do, fewer when it is idle; never for or against a deployment.
#
# Whether a colour runs at all is the deployments' to say, so the least capacity is 0 and nothing here moves a
# service away from 0 or to it: a colour without tasks has no CPU and no requests for the policies to follow, and
# those only add. Taking away is one policy with an alarm of its own, which needs more running tasks than
# `least_tasks`.

resource "aws_appautoscaling_target" "color" {
  for_each = local.colors

  service_namespace  = "ecs"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.color[each.key].name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = 0
  max_capacity       = var.scaling.most_tasks
}

resource "aws_appautoscaling_policy" "cpu" {
  for_each = local.colors

  name               = "${local.name}-${each.key}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.color[each.key].service_namespace
  resource_id        = aws_appautoscaling_target.color[each.key].resource_id
  scalable_dimension = aws_appautoscaling_target.color[each.key].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = var.scaling.cpu_percent
    disable_scale_in   = true
    scale_out_cooldown = 60

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

resource "aws_appautoscaling_policy" "requests" {
  for_each = local.colors

  name               = "${local.name}-${each.key}-requests"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.color[each.key].service_namespace
  resource_id        = aws_appautoscaling_target.color[each.key].resource_id
  scalable_dimension = aws_appautoscaling_target.color[each.key].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = var.scaling.requests_per_minute
    disable_scale_in   = true
    scale_out_cooldown = 60

    predefined_metric_specification {
      predefined_metric_type = "ALBRequestCountPerTarget"
      resource_label         = "${aws_lb.this.arn_suffix}/${aws_lb_target_group.color[each.key].arn_suffix}"
    }
  }
}

resource "aws_appautoscaling_policy" "idle" {
  for_each = local.colors

  name               = "${local.name}-${each.key}-idle"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.color[each.key].service_namespace
  resource_id        = aws_appautoscaling_target.color[each.key].resource_id
  scalable_dimension = aws_appautoscaling_target.color[each.key].scalable_dimension

  step_scaling_policy_configuration {
    adjustment_type         = "ChangeInCapacity"
    metric_aggregation_type = "Average"
    cooldown                = 300

    step_adjustment {
      metric_interval_lower_bound = 0
      scaling_adjustment          = -1
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "idle" {
  for_each = local.colors

  alarm_name          = "${local.name}-${each.key}-idle"
  alarm_description   = "More tasks of ${each.key} than its load needs: one is taken away. Not for people."
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  evaluation_periods  = 15
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_appautoscaling_policy.idle[each.key].arn]

  metric_query {
    id          = "idle"
    label       = "More than ${var.scaling.least_tasks} tasks, below ${var.scaling.idle_cpu_percent} % CPU, with less than half of the requests"
    expression  = "IF(running > ${var.scaling.least_tasks} AND cpu < ${var.scaling.idle_cpu_percent} AND FILL(requests, 0) < ${var.scaling.requests_per_minute / 2}, 1, 0)"
    return_data = true
  }

  metric_query {
    id = "running"
    metric {
      namespace   = "ECS/ContainerInsights"
      metric_name = "RunningTaskCount"
      stat        = "Minimum"
      period      = 60
      dimensions  = { ClusterName = aws_ecs_cluster.this.name, ServiceName = aws_ecs_service.color[each.key].name }
    }
  }

  metric_query {
    id = "cpu"
    metric {
      namespace   = "AWS/ECS"
      metric_name = "CPUUtilization"
      stat        = "Average"
      period      = 60
      dimensions  = { ClusterName = aws_ecs_cluster.this.name, ServiceName = aws_ecs_service.color[each.key].name }
    }
  }

  metric_query {
    id = "requests"
    metric {
      namespace   = "AWS/ApplicationELB"
      metric_name = "RequestCountPerTarget"
      stat        = "Sum"
      period      = 60
      dimensions  = { TargetGroup = aws_lb_target_group.color[each.key].arn_suffix, LoadBalancer = aws_lb.this.arn_suffix }
    }
  }
}
