output "cluster_name" {
  description = "ECS cluster."
  value       = module.compute.cluster_name
}

output "load_balancer_dns_name" {
  description = "Internal load balancer of the prediction service."
  value       = module.compute.alb_dns_name
}

output "serving_url" {
  description = "Where predictions are asked for."
  value       = var.domain == null ? "http://${module.dns.private_names.serving}" : "https://serving.${var.domain}"
}

output "name_servers" {
  description = "What the domain's registrar is to be told; null where no zone was made here."
  value       = one(aws_route53_zone.public[*].name_servers)
}

output "nat_addresses" {
  description = "What venues see as our address: bind API keys to these."
  value       = module.networking.nat_addresses
}

output "bucket_names" {
  description = "By data, models, logs, features, airflow, backups."
  value       = local.bucket_names
}

output "ecr_repository_url" {
  description = "Where images are pushed to."
  value       = local.ecr_repository_url
}

output "secret_arns" {
  description = "By name: what people fill in. ARNs, never values."
  value       = local.secret_arns
}

output "database_admin_secret_arn" {
  description = "Where RDS keeps the administrator's password; null in a standby."
  value       = one(module.storage[*].database_admin_secret_arn)
}

output "vpc_id" {
  description = "The VPC."
  value       = module.networking.vpc_id
}

output "private_subnet_ids" {
  description = "Where tasks are run."
  value       = module.networking.private_subnet_ids
}

output "security_group_ids" {
  description = "By role."
  value       = module.networking.security_group_ids
}

output "airflow_webserver_url" {
  description = "Of MWAA; null where there is none."
  value       = module.airflow.webserver_url
}

output "alerts_topic_arn" {
  description = "SNS topic of the alarms."
  value       = module.monitoring.topic_arn
}
