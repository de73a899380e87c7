mock_provider "aws" {}

variables {
  environment = "dev"
  kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  protect     = false
}

run "secrets_are_named_as_the_code_names_them" {
  command = apply

  assert {
    condition     = aws_secretsmanager_secret.this["serving-token"].name == "autotrader/dev/serving-token"
    error_message = "autotrader/<environment>/<name>: AwsNames.secret."
  }
  assert {
    condition = length(setsubtract([
      "database-url", "ledger-url", "mlflow-database-url", "redis-url", "serving-token", "binance", "oanda", "ibkr", "mail",
      "pagerduty", "slack", "grafana-admin",
    ], keys(output.arns))) == 0
    error_message = "All that tasks ask for."
  }
  assert {
    condition     = alltrue([for secret in aws_secretsmanager_secret.this : length(secret.replica) == 0])
    error_message = "Nothing is copied from dev."
  }
}

run "production_has_them_in_the_dr_region_too" {
  command = plan

  variables {
    environment = "production"
    protect     = true
    copies      = { region = "eu-central-1", kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/11111111-1111-1111-1111-111111111111" }
  }

  assert {
    condition     = alltrue([for secret in aws_secretsmanager_secret.this : one(secret.replica).region == "eu-central-1" && secret.recovery_window_in_days == 30])
    error_message = "A failover needs them, and a deleted one can be had back."
  }
}
