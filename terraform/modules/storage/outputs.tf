output "bucket_names" {
  description = "By data, models, logs, features, airflow, backups."
  value       = module.buckets.names
}

output "bucket_arns" {
  description = "By data, models, logs, features, airflow, backups."
  value       = module.buckets.arns
}

output "database_id" {
  description = "Identifier of the RDS instance."
  value       = aws_db_instance.this.identifier
}

output "database_address" {
  description = "Host of the RDS instance."
  value       = aws_db_instance.this.address
}

output "database_port" {
  description = "Port of the RDS instance."
  value       = aws_db_instance.this.port
}

output "database_admin_secret_arn" {
  description = "Where RDS keeps and rotates the administrator's password."
  value       = one(aws_db_instance.this.master_user_secret[*].secret_arn)
}

output "redis_id" {
  description = "Id of the replication group."
  value       = aws_elasticache_replication_group.this.replication_group_id
}

output "redis_address" {
  description = "Host of the primary node."
  value       = aws_elasticache_replication_group.this.primary_endpoint_address
}

output "ecr_repository_url" {
  description = "Where images are pushed to and pulled from."
  value       = local.repository_url
}

output "ecr_repository_arn" {
  description = "What task execution roles may pull from."
  value       = local.repository_arn
}

output "backup_vault_name" {
  description = "Vault of the hourly recovery points."
  value       = aws_backup_vault.this.name
}

output "backup" {
  description = "The plan of hourly recovery points, and the role that takes them: who else keeps something selects it."
  value       = { plan_id = aws_backup_plan.hourly.id, role_arn = aws_iam_role.backup.arn }
}
