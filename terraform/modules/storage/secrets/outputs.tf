output "arns" {
  description = "By name: database-url, ledger-url, mlflow-database-url, redis-url, serving-token, metrics-token, binance, oanda, ibkr, mail, pagerduty, slack, grafana-admin, and redis-auth-token. ARNs, never values."
  value       = { for name, secret in aws_secretsmanager_secret.this : name => secret.arn }
}
