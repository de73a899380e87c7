# What each of our processes is told: settings in the clear, secrets by reference. The names are those of
# .env.production.example.

locals {
  home = "/var/lib/autotrader"

  # In production the settings ask every process where the stores are. Those that never open one are told where,
  # without a credential.
  database_location = "postgresql://${var.database_address}:${var.database_port}"

  artifacts_uri = "s3://${var.bucket_names["models"]}/mlflow"

  common_settings = merge(
    var.settings,
    {
      AUTOTRADER_ENVIRONMENT          = var.environment
      AUTOTRADER_HOME                 = local.home
      AUTOTRADER_VENUES               = join(",", var.venues)
      AUTOTRADER_LAKE__URI            = "s3://${var.bucket_names["data"]}/lake"
      AUTOTRADER_LAKE__ARCHIVE_URI    = "s3://${var.bucket_names["data"]}/archive"
      AUTOTRADER_MLFLOW__TRACKING_URI = "http://mlflow.${local.namespace}:${local.ports["mlflow"]}"
      AUTOTRADER_DEPLOYMENT__TARGET   = "ecs"
      AUTOTRADER_AWS__REGION          = var.region
      AUTOTRADER_AWS__PREFIX          = var.prefix
      AUTOTRADER_LOG__FORMAT          = "json"
      # Whoever writes a message decides on its way: all of them know that Alertmanager alone tells people.
      AUTOTRADER_ALERTS__ALERTMANAGER_URL = "http://alertmanager.${local.namespace}:${local.ports["alertmanager"]}"
    },
    var.dr_region == null ? {} : { AUTOTRADER_AWS__DR_REGION = var.dr_region },
    var.endpoint == null ? {} : { AUTOTRADER_DEPLOYMENT__ECS_ENDPOINT = var.endpoint },
  )

  gateway_settings = var.ib_gateway.image == null ? {} : {
    AUTOTRADER_IBKR__HOST = "ib-gateway.${local.namespace}"
    AUTOTRADER_IBKR__PORT = tostring(local.ports["ib-gateway"])
  }

  mail_settings = var.mail.host == null ? {} : {
    AUTOTRADER_MAIL__HOST       = var.mail.host
    AUTOTRADER_MAIL__PORT       = tostring(var.mail.port)
    AUTOTRADER_MAIL__USER       = var.mail.user
    AUTOTRADER_MAIL__SENDER     = var.mail.sender
    AUTOTRADER_MAIL__RECIPIENTS = join(",", var.mail.recipients)
  }

  # Who asks Airflow what became of runs, or for one.
  airflow_settings = var.mwaa_environment == null ? {} : {
    AUTOTRADER_AIRFLOW__MWAA_ENVIRONMENT = var.mwaa_environment
  }

  # Who trades an account, or tells of it.
  account_settings = {
    AUTOTRADER_TRADING__ACCOUNT = var.trading.account
    AUTOTRADER_TRADING__BROKER  = var.trading.broker
  }

  # By process: variable to secret, and the key in it where the secret is JSON.
  database_secret = { AUTOTRADER_DATABASE__URL = { secret = "database-url", key = null } }
  ledger_secret   = { AUTOTRADER_DATABASE__LEDGER_URL = { secret = "ledger-url", key = null } }
  token_secret    = { AUTOTRADER_SERVING__TOKEN = { secret = "serving-token", key = null } }
  mail_secret     = var.mail.host == null ? {} : { AUTOTRADER_MAIL__PASSWORD = { secret = "mail", key = null } }
  binance_secrets = var.trading.broker != "binance" ? {} : {
    AUTOTRADER_BINANCE__API_KEY    = { secret = "binance", key = "api_key" }
    AUTOTRADER_BINANCE__API_SECRET = { secret = "binance", key = "api_secret" }
  }
  oanda_secret = !contains(concat(var.venues, [var.trading.broker]), "oanda") ? {} : {
    AUTOTRADER_OANDA__TOKEN = { secret = "oanda", key = null }
  }

  prometheus_settings = {
    AUTOTRADER_MONITORING__PROMETHEUS_URL = "http://prometheus.${local.namespace}:${local.ports["prometheus"]}"
  }

  process_settings = {
    serving = {}
    trader = merge(local.account_settings, local.gateway_settings, local.mail_settings, {
      AUTOTRADER_TRADING__LIVE         = tostring(var.trading.live)
      AUTOTRADER_TRADING__METRICS_HOST = "0.0.0.0" # its security group lets in Prometheus alone
      AUTOTRADER_TRADING__METRICS_PORT = tostring(local.ports["trader"])
    })
    controller = {}
    api = merge(local.account_settings, local.airflow_settings, {
      AUTOTRADER_API__HOST = "0.0.0.0"
      AUTOTRADER_API__PORT = tostring(local.ports["api"])
    })
    exporter = merge(local.account_settings, local.airflow_settings, {
      AUTOTRADER_MONITORING__EXPORTER_HOST = "0.0.0.0" # its security group lets in Prometheus alone
      AUTOTRADER_MONITORING__EXPORTER_PORT = tostring(local.ports["exporter"])
    })
    # Executions are mailed by it; alerts go to Alertmanager, but for ends that Alertmanager tells nobody of. Of
    # Airflow it asks whether what failed has succeeded since.
    alerts = merge(local.mail_settings, local.prometheus_settings, local.airflow_settings)
    # It also makes the backups, and asks Airflow and Prometheus for what the weekly report tells.
    step = merge(local.gateway_settings, local.mail_settings, local.airflow_settings, local.prometheus_settings, {
      AUTOTRADER_BACKUP__URI           = "s3://${var.bucket_names["backups"]}/sets"
      AUTOTRADER_MLFLOW__ARTIFACTS_URI = local.artifacts_uri
    })
  }

  secrets = {
    serving = local.token_secret
    trader = merge(
      local.database_secret, local.token_secret, local.binance_secrets, local.oanda_secret, local.mail_secret,
    )
    controller = merge(local.database_secret, local.token_secret)
    api        = local.database_secret
    exporter   = local.database_secret
    alerts = merge(
      local.database_secret, local.mail_secret,
      var.alerts.pagerduty ? { AUTOTRADER_ALERTS__PAGERDUTY_KEY = { secret = "pagerduty", key = null } } : {},
      var.alerts.slack ? { AUTOTRADER_ALERTS__SLACK_URL = { secret = "slack", key = null } } : {},
    )
    mlflow = { MLFLOW_BACKEND_STORE_URI = { secret = "mlflow-database-url", key = null } }
    step = merge(local.database_secret, local.ledger_secret, local.oanda_secret, local.mail_secret, {
      AUTOTRADER_MLFLOW__DATABASE_URL = { secret = "mlflow-database-url", key = null }
    })
    prometheus = var.api_metrics ? { METRICS_TOKEN = { secret = "metrics-token", key = null } } : {}
    alertmanager = merge(
      var.api_metrics ? { PLATFORM_TOKEN = { secret = "metrics-token", key = null } } : {},
      var.alerts.pagerduty ? { PAGERDUTY_KEY = { secret = "pagerduty", key = null } } : {},
      var.alerts.slack ? { SLACK_URL = { secret = "slack", key = null } } : {},
      var.mail.host == null ? {} : { MAIL_PASSWORD = { secret = "mail", key = null } },
    )
    grafana = { GF_SECURITY_ADMIN_PASSWORD = { secret = "grafana-admin", key = null } }
    ib-gateway = {
      (var.ib_gateway.user_variable)     = { secret = "ibkr", key = "username" }
      (var.ib_gateway.password_variable) = { secret = "ibkr", key = "password" }
    }
  }

  environment = merge(
    { for name, own in local.process_settings : name => merge(
      local.common_settings,
      { for variable in ["AUTOTRADER_DATABASE__URL", "AUTOTRADER_DATABASE__LEDGER_URL"] :
      variable => local.database_location if !contains(keys(local.secrets[name]), variable) },
      own,
    ) },
    {
      mlflow = {
        MLFLOW_ARTIFACTS_DESTINATION       = local.artifacts_uri
        MLFLOW_SERVER_ALLOWED_HOSTS        = "mlflow.${local.namespace}:${local.ports["mlflow"]}"
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION = "false"
        MLFLOW_DISABLE_TELEMETRY           = "true"
      }
      ib-gateway = var.ib_gateway.environment
    },
    local.observer_environments,
  )
}
