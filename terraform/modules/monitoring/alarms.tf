# What AWS itself can see going wrong, whether or not Prometheus lives. One table; each row is an alarm, and its name
# says which of the platform's alerts it stands for.
#
# A row's value is `expression` over its metrics by id, or its one metric.

locals {
  alb = { namespace = "AWS/ApplicationELB", dimensions = { LoadBalancer = var.alb_arn_suffix } }

  alarms = merge(
    {
      HighErrorRate = {
        severity   = "critical"
        summary    = "More than ${var.thresholds.error_percent} % of requests answered 5xx for ${var.thresholds.error_minutes} min"
        expression = "IF(requests > 0, 100 * (FILL(own, 0) + FILL(targets, 0)) / requests, 0)"
        over       = var.thresholds.error_percent
        comparison = "GreaterThanThreshold"
        minutes    = var.thresholds.error_minutes
        missing    = "notBreaching" # no request
        metrics = {
          requests = merge(local.alb, { name = "RequestCount", stat = "Sum", period = 60 })
          own      = merge(local.alb, { name = "HTTPCode_ELB_5XX_Count", stat = "Sum", period = 60 })
          targets  = merge(local.alb, { name = "HTTPCode_Target_5XX_Count", stat = "Sum", period = 60 })
        }
      }
    },
    { for color, suffix in var.target_group_arn_suffixes : "HighLatency-${color}" => {
      severity   = "warning"
      summary    = "p99 of ${color} above ${var.thresholds.latency_p99_seconds * 1000} ms for ${var.thresholds.latency_minutes} min"
      expression = null
      over       = var.thresholds.latency_p99_seconds
      comparison = "GreaterThanThreshold"
      minutes    = var.thresholds.latency_minutes
      missing    = "notBreaching" # no request
      metrics = { p99 = {
        namespace  = "AWS/ApplicationELB"
        name       = "TargetResponseTime"
        stat       = "p99"
        period     = 60
        dimensions = { LoadBalancer = var.alb_arn_suffix, TargetGroup = suffix }
      } }
    } },
    { for color, suffix in var.target_group_arn_suffixes : "ComponentUnhealthy-${color}" => {
      severity   = "critical"
      summary    = "Targets of ${color} that its load balancer finds unhealthy for ${var.thresholds.down_minutes} min"
      expression = null
      over       = 0
      comparison = "GreaterThanThreshold"
      minutes    = var.thresholds.down_minutes
      missing    = "notBreaching" # no target: an empty colour is no illness
      metrics = { unhealthy = {
        namespace  = "AWS/ApplicationELB"
        name       = "UnHealthyHostCount"
        stat       = "Maximum"
        period     = 60
        dimensions = { LoadBalancer = var.alb_arn_suffix, TargetGroup = suffix }
      } }
    } },
    # A service without any task sends no running count: that is none. One that is asked for none is not missed.
    { for process, service in var.service_names : "ServiceDown-${process}" => {
      severity   = "critical"
      summary    = "Fewer tasks of ${service} run than are asked for, for ${var.thresholds.down_minutes} min"
      expression = "IF(desired > FILL(running, 0), 1, 0)"
      over       = 0
      comparison = "GreaterThanThreshold"
      minutes    = var.thresholds.down_minutes
      missing    = "notBreaching"
      metrics = { for id, metric in { desired = "DesiredTaskCount", running = "RunningTaskCount" } : id => {
        namespace  = "ECS/ContainerInsights"
        name       = metric
        stat       = "Minimum"
        period     = 60
        dimensions = { ClusterName = var.cluster_name, ServiceName = service }
      } }
    } },
    { for process, service in var.service_names : "HighMemoryUsage-${process}" => {
      severity   = "warning"
      summary    = "${service} uses more than ${var.thresholds.memory_percent} % of its memory for 10 min"
      expression = null
      over       = var.thresholds.memory_percent
      comparison = "GreaterThanThreshold"
      minutes    = 10
      missing    = "notBreaching"
      metrics = { memory = {
        namespace  = "AWS/ECS"
        name       = "MemoryUtilization"
        stat       = "Average"
        period     = 60
        dimensions = { ClusterName = var.cluster_name, ServiceName = service }
      } }
    } },
    local.database_alarms,
    local.redis_alarms,
    local.airflow_alarms,
  )

  rds_dimensions = { DBInstanceIdentifier = try(var.database.id, "") }
  database_alarms = { for name, alarm in {
    PostgresDown = {
      severity   = "critical"
      summary    = "The database says nothing of itself for 5 min"
      metric     = "DatabaseConnections"
      stat       = "Maximum"
      over       = 0
      comparison = "LessThanThreshold"
      minutes    = 5
      missing    = "breaching"
    }
    HighCPUUsage-database = {
      severity   = "warning"
      summary    = "The database uses more than ${var.thresholds.cpu_percent} % CPU for 10 min"
      metric     = "CPUUtilization"
      stat       = "Average"
      over       = var.thresholds.cpu_percent
      comparison = "GreaterThanThreshold"
      minutes    = 10
      missing    = "notBreaching"
    }
    DiskSpaceLow-database = {
      severity   = "warning"
      summary    = "Less than ${var.thresholds.storage_free_percent} % of the database's storage is free"
      metric     = "FreeStorageSpace"
      stat       = "Minimum"
      over       = try(var.database.storage_gib, 0) * 1024 * 1024 * 1024 * var.thresholds.storage_free_percent / 100
      comparison = "LessThanThreshold"
      minutes    = 5
      missing    = "notBreaching"
    }
    HighDatabaseConnections = {
      severity   = "warning"
      summary    = "More than ${var.thresholds.connections_warning_percent} % of the database's connections are taken for 5 min"
      metric     = "DatabaseConnections"
      stat       = "Maximum"
      over       = try(var.database.max_connections, 0) * var.thresholds.connections_warning_percent / 100
      comparison = "GreaterThanThreshold"
      minutes    = 5
      missing    = "notBreaching"
    }
    DatabaseConnectionsExhausted = {
      severity   = "critical"
      summary    = "More than ${var.thresholds.connections_critical_percent} % of the database's connections are taken"
      metric     = "DatabaseConnections"
      stat       = "Maximum"
      over       = try(var.database.max_connections, 0) * var.thresholds.connections_critical_percent / 100
      comparison = "GreaterThanThreshold"
      minutes    = 1
      missing    = "notBreaching"
    }
    } : name => {
    severity   = alarm.severity
    summary    = alarm.summary
    expression = null
    over       = alarm.over
    comparison = alarm.comparison
    minutes    = alarm.minutes
    missing    = alarm.missing
    metrics = { value = {
      namespace = "AWS/RDS", name = alarm.metric, stat = alarm.stat, period = 60, dimensions = local.rds_dimensions
    } }
  } if var.database != null }

  # By number: the group's id is not known before it exists.
  redis_nodes = var.redis == null ? {} : {
    for index in range(var.redis.nodes) : format("%03d", index + 1) => format("%s-%03d", var.redis.id, index + 1)
  }
  redis_alarms = merge(
    { for number, node in local.redis_nodes : "RedisMemoryHigh-${number}" => {
      severity   = "warning"
      summary    = "${node} uses more than ${var.thresholds.redis_memory_percent} % of its memory for 5 min"
      expression = null
      over       = var.thresholds.redis_memory_percent
      comparison = "GreaterThanThreshold"
      minutes    = 5
      missing    = "notBreaching"
      metrics = { memory = {
        namespace  = "AWS/ElastiCache", name = "DatabaseMemoryUsagePercentage", stat = "Maximum", period = 60
        dimensions = { CacheClusterId = node }
      } }
    } },
    { for number, node in local.redis_nodes : "RedisDown-${number}" => {
      severity   = "critical"
      summary    = "${node} says nothing of itself for 5 min"
      expression = null
      over       = 0
      comparison = "LessThanThreshold"
      minutes    = 5
      missing    = "breaching"
      metrics = { connections = {
        namespace  = "AWS/ElastiCache", name = "CurrConnections", stat = "Maximum", period = 60
        dimensions = { CacheClusterId = node }
      } }
    } },
  )

  airflow_alarms = { for name in var.airflow_name[*] : "NoWorkersAvailable-airflow" => {
    severity   = "critical"
    summary    = "Airflow's scheduler has shown no heartbeat for 5 min"
    expression = null
    over       = 1
    comparison = "LessThanThreshold"
    minutes    = 5
    missing    = "breaching"
    metrics = { beats = {
      namespace  = "AmazonMWAA", name = "SchedulerHeartbeat", stat = "Sum", period = 60
      dimensions = { Environment = name, Function = "Scheduler" }
    } }
  } }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${local.name}-${each.key}"
  alarm_description   = "${each.value.severity}: ${each.value.summary}. Runbook: runbooks/alerts/${split("-", each.key)[0]}.md"
  comparison_operator = each.value.comparison
  threshold           = each.value.over
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alerts.arn]
  ok_actions          = [aws_sns_topic.alerts.arn]

  dynamic "metric_query" {
    for_each = each.value.expression[*]

    content {
      id          = "result"
      label       = each.key
      expression  = metric_query.value
      return_data = true
    }
  }

  dynamic "metric_query" {
    for_each = each.value.metrics

    content {
      id          = metric_query.key
      return_data = each.value.expression == null

      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.name
        stat        = metric_query.value.stat
        period      = metric_query.value.period
        dimensions  = metric_query.value.dimensions
      }
    }
  }

  tags = { severity = each.value.severity }
}
