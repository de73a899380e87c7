# ------------------------------------------------------------------------------ where and what

variable "environment" {
  description = "dev, staging or production: part of every name."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "production"], var.environment)
    error_message = "Expected dev, staging or production, was ${var.environment}."
  }
}

variable "region" {
  description = "Where everything is made."
  type        = string
  default     = "eu-west-1"
}

variable "dr_region" {
  description = "Where copies go to and a failover leads (AUTOTRADER_AWS__DR_REGION)."
  type        = string
  default     = "eu-central-1"

  validation {
    condition     = var.dr_region != var.region
    error_message = "Expected another region than ${var.region}: a copy beside the original does not outlive it."
  }
}

variable "prefix" {
  description = "Bucket names, which are global, begin with it (AUTOTRADER_AWS__PREFIX)."
  type        = string
}

variable "max_retries" {
  description = "Tries of a call to AWS that may succeed later."
  type        = number
  default     = 5
}

# --------------------------------------------------------------------------- care and recovery

variable "protect" {
  description = "Refuses to delete the database, and buckets, vaults and repositories that hold something."
  type        = bool
}

variable "replicate" {
  description = "Copies buckets, secrets, images and database backups to dr_region."
  type        = bool
}

variable "standby" {
  description = "The stack in the DR region: services without tasks, over what the primary region copied there."
  type        = bool
  default     = false

  validation {
    condition     = !(var.standby && var.replicate)
    error_message = "Expected replicate = false in a standby: it holds copies, it makes none."
  }
}

variable "backup_days" {
  description = "How long hourly recovery points of the database and noncurrent versions in the buckets are kept."
  type        = number
}

variable "create_repository" {
  description = "False where another environment in the same account and region has made the repository `autotrader`."
  type        = bool
  default     = true
}

# ------------------------------------------------------------------------------------- network

variable "availability_zone_count" {
  description = "2 in dev, 3 in production."
  type        = number
}

variable "domain" {
  description = "Domain whose `serving.` name the load balancer's certificate is of; null (dev alone): plain HTTP inside the VPC."
  type        = string
  default     = null
}

variable "public_zone_id" {
  description = "Existing public zone of the domain; null: one is made, and the domain's registrar is to be told its name servers."
  type        = string
  default     = null
}

# --------------------------------------------------------------------------------------- sizes

variable "database" {
  description = "Size and care of PostgreSQL; `snapshot` restores from one, at creation only."
  type = object({
    instance_class        = string
    allocated_storage     = number
    max_allocated_storage = number
    multi_az              = bool
    backup_days           = number
    max_connections       = number
    snapshot              = optional(string)
  })
}

variable "cache" {
  description = "Size of Redis."
  type = object({
    node_type = string
    nodes     = number
  })
}

variable "image_tags" {
  description = "Versions of our images, without their `serving-` and `platform-`."
  type = object({
    serving  = string
    platform = string
  })
}

variable "sizes" {
  description = "CPU units and MiB of tasks that differ from the module compute's."
  type        = map(object({ cpu = number, memory = number }))
  default     = {}
}

variable "scaling" {
  description = "Tasks of a colour that runs: at least, at most, and when (module compute)."
  type = object({
    least_tasks = number
    most_tasks  = number
  })
  default = { least_tasks = 1, most_tasks = 4 }
}

variable "airflow" {
  description = "MWAA: whether there is one, its class and a version that MWAA offers."
  type = object({
    enabled           = bool
    environment_class = optional(string, "mw1.small")
    version           = optional(string, "3.0.6")
    # Of the objects in the bucket, as scripts/mwaa-upload.sh prints them: MWAA installs others only when told so.
    requirements_version   = optional(string)
    plugins_version        = optional(string)
    startup_script_version = optional(string)
  })
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 365
}

# ----------------------------------------------------------------------------------- behaviour

variable "venues" {
  description = "Venues that the pipelines use: binance, ibkr, oanda."
  type        = list(string)
  default     = ["binance"]
}

variable "trading" {
  description = "Broker (paper, binance, ibkr, oanda), name of the account here, and whether orders are real."
  type = object({
    broker  = optional(string, "paper")
    account = optional(string, "main")
    live    = optional(bool, false)
  })
  default = {}
}

variable "alerts" {
  description = "Whether the secrets pagerduty and slack hold something, and Slack's channel."
  type = object({
    pagerduty     = optional(bool, false)
    slack         = optional(bool, false)
    slack_channel = optional(string, "#autotrader-alerts")
  })
  default = {}
}

variable "api_metrics" {
  description = "Whether Prometheus reads the API's page and Alertmanager tells the API of alerts: only once the secret metrics-token holds a token."
  type        = bool
  default     = false
}

variable "alarm_emails" {
  description = "Who CloudWatch's alarms are mailed to; each has to confirm once."
  type        = list(string)
  default     = []
}

variable "mail" {
  description = "Mail server of reports; its password is in the secret mail."
  type = object({
    host       = optional(string)
    port       = optional(number, 587)
    user       = optional(string)
    sender     = optional(string)
    recipients = optional(list(string), [])
  })
  default = {}
}

variable "ib_gateway" {
  description = "Image of the gateway to Interactive Brokers (licensed, so none is given here), and its port."
  type = object({
    image = optional(string)
    port  = optional(number, 4002)
  })
  default = {}
}

variable "settings" {
  description = "Further settings of all our processes (.env.production.example). No secrets."
  type        = map(string)
  default     = {}
}
