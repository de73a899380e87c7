output "redis_auth_token" {
  description = "For the cache."
  value       = data.aws_secretsmanager_secret_version.redis_auth_token.secret_string
  sensitive   = true
}
