# Secrets and their copies. What is in them is written by ../values.

locals {
  secrets = {
    database-url        = "URL of the platform's database"
    ledger-url          = "URL of the trial ledger"
    mlflow-database-url = "URL of MLflow's database"
    redis-url           = "URL of the cache"
    redis-auth-token    = "Auth token of the cache, part of redis-url"
    serving-token       = "Bearer token of the prediction service's callers"
    metrics-token       = "Token of the API, of the scopes read and operate: Prometheus reads its page with it, Alertmanager tells it of alerts"
    grafana-admin       = "Password of Grafana's administrator"
    binance             = "Binance: api_key and api_secret"
    oanda               = "OANDA: API token"
    ibkr                = "Interactive Brokers: username and password"
    mail                = "Mail server: password"
    pagerduty           = "PagerDuty: routing key"
    slack               = "Slack: URL of the incoming webhook"
  }
}

resource "aws_secretsmanager_secret" "this" {
  #checkov:skip=CKV2_AWS_57:RDS rotates its administrator by itself; the others belong to venues and people, or are rotated by raising value_version
  for_each = local.secrets

  name                    = "autotrader/${var.environment}/${each.key}"
  description             = each.value
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.protect ? 30 : 0
  # A failover makes the copies secrets of their own; once this region serves again, they are copies again.
  force_overwrite_replica_secret = true

  dynamic "replica" {
    for_each = var.copies[*]

    content {
      region     = replica.value.region
      kms_key_id = replica.value.kms_key_arn
    }
  }
}
