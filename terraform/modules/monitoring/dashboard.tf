# One page for the moment in which Grafana is away, too.

locals {
  panels = concat(
    [
      { title = "Requests and errors", stat = "Sum", metrics = [
        ["AWS/ApplicationELB", "RequestCount", "LoadBalancer", var.alb_arn_suffix],
        ["AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", "LoadBalancer", var.alb_arn_suffix],
        ["AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", "LoadBalancer", var.alb_arn_suffix],
      ] },
      { title = "p99 of each colour, s", stat = "p99", metrics = [for color, suffix in var.target_group_arn_suffixes :
      ["AWS/ApplicationELB", "TargetResponseTime", "TargetGroup", suffix, "LoadBalancer", var.alb_arn_suffix, { label = color }]] },
      { title = "Healthy targets", stat = "Minimum", metrics = [for color, suffix in var.target_group_arn_suffixes :
      ["AWS/ApplicationELB", "HealthyHostCount", "TargetGroup", suffix, "LoadBalancer", var.alb_arn_suffix, { label = color }]] },
      { title = "Tasks that run", stat = "Minimum", metrics = [for process, service in var.service_names :
      ["ECS/ContainerInsights", "RunningTaskCount", "ClusterName", var.cluster_name, "ServiceName", service, { label = process }]] },
      { title = "CPU of the services, %", stat = "Average", metrics = [for process, service in var.service_names :
      ["AWS/ECS", "CPUUtilization", "ClusterName", var.cluster_name, "ServiceName", service, { label = process }]] },
      { title = "Memory of the services, %", stat = "Average", metrics = [for process, service in var.service_names :
      ["AWS/ECS", "MemoryUtilization", "ClusterName", var.cluster_name, "ServiceName", service, { label = process }]] },
    ],
    var.database == null ? [] : [for metric in ["CPUUtilization", "DatabaseConnections", "FreeStorageSpace"] :
      { title = "Database: ${metric}", stat = "Maximum", metrics = [["AWS/RDS", metric, "DBInstanceIdentifier", var.database.id]] }
    ],
    length(local.redis_nodes) == 0 ? [] : [{ title = "Redis: memory, %", stat = "Maximum", metrics = [for node in values(local.redis_nodes) :
    ["AWS/ElastiCache", "DatabaseMemoryUsagePercentage", "CacheClusterId", node]] }],
  )
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = local.name

  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type       = "alarm", x = 0, y = 0, width = 24, height = 3
        properties = { title = "Alarms", alarms = [for alarm in values(aws_cloudwatch_metric_alarm.this) : alarm.arn] }
      }],
      [for index, panel in local.panels : {
        type = "metric", x = index % 3 * 8, y = 3 + floor(index / 3) * 6, width = 8, height = 6
        properties = {
          title   = panel.title
          region  = data.aws_region.current.name
          view    = "timeSeries"
          period  = 60
          stat    = panel.stat
          metrics = panel.metrics
        }
      }],
    )
  })
}
