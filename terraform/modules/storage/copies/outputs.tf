output "targets" {
  description = "Where the module storage copies to: its variable `copies`."
  value = {
    region      = data.aws_region.current.name
    kms_key_arn = module.key.arn
    vault_arn   = aws_backup_vault.this.arn
    bucket_arns = module.buckets.versioned
  }
}

output "bucket_names" {
  description = "By data, models, logs, features, airflow, backups."
  value       = module.buckets.names
}
