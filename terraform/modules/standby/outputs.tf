output "kms_key_arn" {
  description = "Key of the copies, and of what the standby writes."
  value       = data.aws_kms_alias.copies.target_key_arn
}

output "bucket_names" {
  description = "By data, models, logs, features, airflow, backups."
  value       = local.bucket_names
}

output "bucket_arns" {
  description = "By the same names."
  value       = { for name, bucket in local.bucket_names : name => "arn:${local.partition}:s3:::${bucket}" }
}

output "secret_arns" {
  description = "Of the copies in this region, by name. ARNs, never values."
  value       = { for name, secret in data.aws_secretsmanager_secret.copy : name => secret.arn }
}

output "ecr_repository_url" {
  description = "Where the registry's replication brings the images to."
  value       = "${local.account}.dkr.ecr.${local.region}.amazonaws.com/autotrader"
}
