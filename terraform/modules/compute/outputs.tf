output "cluster_name" {
  description = "Name of the ECS cluster."
  value       = aws_ecs_cluster.this.name
}

output "cluster_arn" {
  description = "ARN of the ECS cluster."
  value       = aws_ecs_cluster.this.arn
}

output "namespace" {
  description = "What the processes' names in DNS end with: mlflow.<namespace> and so on."
  value       = local.namespace
}

output "alb_arn" {
  description = "ARN of the internal load balancer."
  value       = aws_lb.this.arn
}

output "alb_arn_suffix" {
  description = "What CloudWatch calls the load balancer."
  value       = aws_lb.this.arn_suffix
}

output "alb_dns_name" {
  description = "Name of the load balancer in DNS."
  value       = aws_lb.this.dns_name
}

output "alb_zone_id" {
  description = "Hosted zone of that name, for alias records."
  value       = aws_lb.this.zone_id
}

output "listener_arn" {
  description = "ARN of the listener that forwards to the colours."
  value       = aws_lb_listener.main.arn
}

output "listener_rule_arns" {
  description = "By colour: ARN of the rule for callers that name it. Break-glass points it at the other target group."
  value       = { for color, rule in aws_lb_listener_rule.color : color => rule.arn }
}

output "target_group_arns" {
  description = "By colour."
  value       = { for color, group in aws_lb_target_group.color : color => group.arn }
}

output "target_group_arn_suffixes" {
  description = "By colour: what CloudWatch calls the target groups."
  value       = { for color, group in aws_lb_target_group.color : color => group.arn_suffix }
}

output "service_names" {
  description = "By process, the colours as serving-blue and serving-green."
  value = merge(
    { for name, service in aws_ecs_service.process : name => service.name },
    { for color, service in aws_ecs_service.color : "serving-${color}" => service.name },
  )
}

output "task_definition_arns" {
  description = "By process, with the revision that Terraform made."
  value       = { for name, definition in aws_ecs_task_definition.this : name => definition.arn }
}

output "task_definition_families" {
  description = "By process."
  value       = { for name, definition in aws_ecs_task_definition.this : name => definition.family }
}

output "task_role_arns" {
  description = "By process, both colours as serving: what it does on AWS."
  value       = { for name, role in aws_iam_role.task : name => role.arn }
}

output "execution_role_arns" {
  description = "By process, both colours as serving: what ECS does to start it."
  value       = { for name, role in aws_iam_role.execution : name => role.arn }
}

output "log_group_names" {
  description = "By process."
  value       = { for name, group in aws_cloudwatch_log_group.process : name => group.name }
}

output "file_system_id" {
  description = "Of the files that outlive tasks."
  value       = aws_efs_file_system.this.id
}
