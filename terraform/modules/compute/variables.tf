# ------------------------------------------------------------------------------ where and what

variable "environment" {
  description = "dev, staging or production: part of every name, and AUTOTRADER_ENVIRONMENT of every process."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "production"], var.environment)
    error_message = "Expected environment to be dev, staging or production."
  }
}

variable "prefix" {
  description = "What bucket names begin with (AUTOTRADER_AWS__PREFIX)."
  type        = string
}

variable "region" {
  description = "Region of the provider (AUTOTRADER_AWS__REGION)."
  type        = string
}

variable "dr_region" {
  description = "Where a failover goes to (AUTOTRADER_AWS__DR_REGION); null for none."
  type        = string
  default     = null
}

variable "standby" {
  description = "Make every service with no task, as in a region that waits for a failover. Of services that exist already nothing changes: counts are the operators' and the controller's."
  type        = bool
  default     = false
}

# ------------------------------------------------------------------------------------- network

variable "vpc_id" {
  description = "VPC of everything here."
  type        = string
}

variable "private_subnet_ids" {
  description = "Subnets of the tasks and of the load balancer, which is internal: two at least."
  type        = list(string)

  validation {
    condition     = length(var.private_subnet_ids) >= 2
    error_message = "Expected two private subnets at least: a load balancer spans two zones."
  }
}

variable "security_group_ids" {
  description = "Security group by process: alb, serving, trader, controller, api, exporter, alerts, mlflow, step, monitoring, ib-gateway, efs."
  type        = map(string)

  validation {
    condition = length(setsubtract(
      ["alb", "serving", "trader", "controller", "api", "exporter", "alerts", "mlflow", "step", "monitoring", "ib-gateway", "efs"],
      keys(var.security_group_ids),
    )) == 0
    error_message = "Expected a security group for each of alb, serving, trader, controller, api, exporter, alerts, mlflow, step, monitoring, ib-gateway and efs."
  }
}

variable "certificate_arn" {
  description = "ACM certificate of the load balancer. Without one it speaks plain HTTP, which only dev may."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn != null || var.environment == "dev"
    error_message = "Expected a certificate in staging and production: only dev may speak plain HTTP."
  }
}

variable "endpoint" {
  description = "Base URL of the load balancer at a name that the certificate is of (AUTOTRADER_DEPLOYMENT__ECS_ENDPOINT); without a certificate null: its own name."
  type        = string
  default     = null

  validation {
    condition     = (var.endpoint == null) == (var.certificate_arn == null)
    error_message = "Expected an endpoint beside the certificate: no certificate is of the load balancer's own name, so that callers would refuse it."
  }
  validation {
    condition     = var.endpoint == null || can(regex("^https://[^/]+$", var.endpoint))
    error_message = "Expected an endpoint such as https://predictions.example.com, without a path."
  }
}

# ------------------------------------------------------------------- stores, keys and secrets

variable "kms_key_arn" {
  description = "Key that encrypts log groups, the file system, buckets and secrets."
  type        = string
}

variable "bucket_arns" {
  description = "ARN by bucket: data, models, logs, features, airflow, backups."
  type        = map(string)
}

variable "bucket_names" {
  description = "Name by bucket, as bucket_arns."
  type        = map(string)
}

variable "backup" {
  description = "Plan of AWS Backup that takes the file system, and the role that does it; null where there is none, as in a standby."
  type = object({
    plan_id  = string
    role_arn = string
  })
  default = null
}

variable "secret_arns" {
  description = "ARN by secret: database-url, ledger-url, mlflow-database-url, serving-token, metrics-token, binance, oanda, ibkr, mail, pagerduty, slack, grafana-admin. binance and ibkr hold JSON (api_key and api_secret; username and password), the others the bare value."
  type        = map(string)
}

variable "database_address" {
  description = "Host of the database."
  type        = string
}

variable "database_port" {
  description = "Port of the database."
  type        = number
  default     = 5432
}

# -------------------------------------------------------------------------------------- images

variable "ecr_repository_url" {
  description = "Repository of our images, ACCOUNT.dkr.ecr.REGION.amazonaws.com/autotrader; its tags are <image>-<version>."
  type        = string
}

variable "image_tags" {
  description = "Version of each of our images: serving (of the colours' template; deployments keep it) and platform."
  type = object({
    serving  = string
    platform = string
  })

  validation {
    condition     = alltrue([for tag in values(var.image_tags) : can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$", tag)) && tag != "latest"])
    error_message = "Expected image tags that name one version, such as v1.2.3; latest is none."
  }
}

variable "monitoring_images" {
  description = "Images that are not ours, each with a version."
  type = object({
    prometheus   = optional(string, "quay.io/prometheus/prometheus:v3.5.0")
    alertmanager = optional(string, "quay.io/prometheus/alertmanager:v0.28.1")
    grafana      = optional(string, "docker.io/grafana/grafana:12.1.1")
  })
  default = {}
}

variable "ib_gateway" {
  description = "The gateway to Interactive Brokers, which is licensed software: its image (null: no gateway), its API port and the variables in which the image wants user and password."
  type = object({
    image             = optional(string)
    port              = optional(number, 4002)
    environment       = optional(map(string), {})
    user_variable     = optional(string, "TWS_USERID")
    password_variable = optional(string, "TWS_PASSWORD")
  })
  default = {}
}

# --------------------------------------------------------------------------------------- sizes

variable "sizes" {
  description = "CPU units and MiB of each task, in combinations that Fargate offers."
  type = object({
    serving      = optional(object({ cpu = number, memory = number }), { cpu = 1024, memory = 2048 })
    trader       = optional(object({ cpu = number, memory = number }), { cpu = 1024, memory = 2048 })
    controller   = optional(object({ cpu = number, memory = number }), { cpu = 512, memory = 2048 })
    api          = optional(object({ cpu = number, memory = number }), { cpu = 512, memory = 1024 })
    exporter     = optional(object({ cpu = number, memory = number }), { cpu = 512, memory = 1024 })
    alerts       = optional(object({ cpu = number, memory = number }), { cpu = 256, memory = 512 })
    mlflow       = optional(object({ cpu = number, memory = number }), { cpu = 512, memory = 2048 })
    step         = optional(object({ cpu = number, memory = number }), { cpu = 2048, memory = 8192 })
    prometheus   = optional(object({ cpu = number, memory = number }), { cpu = 512, memory = 2048 })
    alertmanager = optional(object({ cpu = number, memory = number }), { cpu = 256, memory = 512 })
    grafana      = optional(object({ cpu = number, memory = number }), { cpu = 256, memory = 1024 })
    ib-gateway   = optional(object({ cpu = number, memory = number }), { cpu = 512, memory = 2048 })
  })
  default = {}
}

variable "scaling" {
  description = "Of a colour that runs: tasks that auto-scaling leaves at least (scale-in stops there) and makes at most; the CPU share in percent and the requests a minute and task that it adds tasks for; the CPU share below which it takes one away."
  type = object({
    least_tasks         = optional(number, 1)
    most_tasks          = optional(number, 4)
    cpu_percent         = optional(number, 60)
    requests_per_minute = optional(number, 30000)
    idle_cpu_percent    = optional(number, 20)
  })
  default = {}

  validation {
    condition     = var.scaling.least_tasks >= 1 && var.scaling.most_tasks >= var.scaling.least_tasks
    error_message = "Expected 1 <= least_tasks <= most_tasks: that a colour has no task at all is the deployments' to say."
  }
  validation {
    condition     = var.scaling.idle_cpu_percent < var.scaling.cpu_percent / 2
    error_message = "Expected idle_cpu_percent below half of cpu_percent: else taking a task away asks for it again."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 365
}

# ------------------------------------------------------------------------------------ behaviour

variable "venues" {
  description = "Venues that the pipelines use (AUTOTRADER_VENUES)."
  type        = list(string)
  default     = ["binance"]

  validation {
    condition     = length(var.venues) > 0 && length(setsubtract(var.venues, ["binance", "ibkr", "oanda"])) == 0
    error_message = "Expected at least one of binance, ibkr and oanda."
  }
}

variable "trading" {
  description = "What the trader trades with: broker (paper, binance, ibkr, oanda), account (its name here), live (real orders)."
  type = object({
    broker  = optional(string, "paper")
    account = optional(string, "main")
    live    = optional(bool, false)
  })
  default = {}

  validation {
    condition     = contains(["paper", "binance", "ibkr", "oanda"], var.trading.broker)
    error_message = "Expected a broker of paper, binance, ibkr and oanda."
  }
  validation {
    condition     = !(var.trading.live && var.trading.broker == "paper")
    error_message = "Expected a broker other than paper where live is true."
  }
}

variable "alerts" {
  description = "Where Alertmanager sends alerts: pagerduty and slack say whether their secrets hold something; without one of them, its alerts are seen in Alertmanager alone."
  type = object({
    pagerduty     = optional(bool, false)
    slack         = optional(bool, false)
    slack_channel = optional(string, "#autotrader-alerts")
  })
  default = {}
}

variable "mwaa_environment" {
  description = "Name of the MWAA environment, which exporter, API, alerts and steps ask through AWS; null where there is none: then nobody reads what became of runs, and rules about them are left out."
  type        = string
  default     = null
}

variable "api_metrics" {
  description = "Whether the secret metrics-token holds a token of the API, of the scopes read and operate: Prometheus reads the API's page with it, and Alertmanager tells the API of alerts. Without it neither does, and rules about the API are left out."
  type        = bool
  default     = false
}

variable "mail" {
  description = "SMTP server of reports and of alerts by mail; without a host there are none."
  type = object({
    host       = optional(string)
    port       = optional(number, 587)
    user       = optional(string)
    sender     = optional(string)
    recipients = optional(list(string), [])
  })
  default = {}

  validation {
    condition     = var.mail.host == null || (var.mail.user != null && var.mail.sender != null && length(var.mail.recipients) > 0)
    error_message = "Expected user, sender and recipients beside the host of the mail server."
  }
}

variable "settings" {
  description = "Further settings of all our processes, such as { AUTOTRADER_RISK__MAX_POSITION = \"0.1\" }; .env.production.example lists them. No secrets."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : startswith(name, "AUTOTRADER_")])
    error_message = "Expected names that begin with AUTOTRADER_."
  }
  validation {
    condition     = alltrue([for name in keys(var.settings) : !can(regex("(SECRET|TOKEN|PASSWORD|API_KEY|DATABASE__.*URL)$", name))])
    error_message = "Expected no secret: task definitions can be read by many. Secrets are in Secrets Manager."
  }
}

variable "monitoring_files" {
  description = "What `python -m autotrader.monitoring.rules` writes for Prometheus, Alertmanager and Grafana, by path below monitoring/."
  type        = map(string)
}
