# The first values of secrets. They pass through ephemeral and write-only arguments, which neither the plan nor the state
# holds. A value is written once, and again when its version is raised: what people put in later stays.
#
# What is random is made in one secret and read back from there by whatever else needs it: an apply that is cut off half
# way would otherwise make it anew, and the two would differ.
#
# Called from the root, because `terraform test` can mock no configuration that has ephemeral resources in it;
# scripts/infra-check.sh proves it on the local AWS.

locals {
  value_version = 1
  database_url  = "%s:%s@${var.database_hostname}:5432/%s?sslmode=require"
}

ephemeral "aws_secretsmanager_random_password" "this" {
  for_each = toset(["database", "mlflow", "redis", "serving", "grafana"])

  password_length     = 40
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret_version" "token" {
  for_each = { serving-token = "serving", grafana-admin = "grafana", redis-auth-token = "redis" }

  secret_id                = var.secret_ids[each.key]
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.this[each.value].random_password
  secret_string_wo_version = local.value_version
}

resource "aws_secretsmanager_secret_version" "database_url" {
  for_each = { database-url = ["autotrader", "database"], mlflow-database-url = ["mlflow", "mlflow"] }

  secret_id = var.secret_ids[each.key]
  secret_string_wo = "postgresql+psycopg://${format(
    local.database_url,
    each.value[0],
    ephemeral.aws_secretsmanager_random_password.this[each.value[1]].random_password,
    each.value[0],
  )}"
  secret_string_wo_version = local.value_version
}

ephemeral "aws_secretsmanager_secret_version" "database_url" {
  secret_id = aws_secretsmanager_secret_version.database_url["database-url"].secret_id
}

resource "aws_secretsmanager_secret_version" "ledger_url" {
  secret_id                = var.secret_ids["ledger-url"]
  secret_string_wo         = ephemeral.aws_secretsmanager_secret_version.database_url.secret_string
  secret_string_wo_version = local.value_version
}

# ElastiCache has no write-only argument in provider 5: this one value is in the state, which is encrypted and closed
# (terraform/bootstrap), and in no output of the root.
data "aws_secretsmanager_secret_version" "redis_auth_token" {
  secret_id = aws_secretsmanager_secret_version.token["redis-auth-token"].secret_id
}

# Tasks name fields of these, which must be there for a task to start. An empty setting counts as unset.
resource "aws_secretsmanager_secret_version" "fields" {
  for_each = { binance = ["api_key", "api_secret"], ibkr = ["username", "password"] }

  secret_id                = var.secret_ids[each.key]
  secret_string_wo         = jsonencode({ for field in each.value : field => "" })
  secret_string_wo_version = local.value_version
}
