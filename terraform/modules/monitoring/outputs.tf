output "topic_arn" {
  description = "Topic of the alarms."
  value       = aws_sns_topic.alerts.arn
}

output "dashboard_name" {
  description = "Name of the dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "alarm_names" {
  description = "Names of all alarms."
  value       = sort([for alarm in values(aws_cloudwatch_metric_alarm.this) : alarm.alarm_name])
}
