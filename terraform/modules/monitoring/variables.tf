variable "environment" {
  description = "dev, staging or production: part of every name."
  type        = string
}

variable "kms_key_arn" {
  description = "Key that encrypts the topic. Its policy lets cloudwatch.amazonaws.com use it, or alarms reach nobody."
  type        = string
}

variable "emails" {
  description = "Who gets the alarms. Each address confirms by a link that AWS mails."
  type        = list(string)
  default     = []
}

variable "alb_arn_suffix" {
  description = "What CloudWatch calls the load balancer."
  type        = string
}

variable "target_group_arn_suffixes" {
  description = "By colour: what CloudWatch calls the target groups."
  type        = map(string)
}

variable "cluster_name" {
  description = "ECS cluster."
  type        = string
}

variable "service_names" {
  description = "By process: services of which as many tasks should run as are asked for."
  type        = map(string)
}

variable "database" {
  description = "Identifier of the RDS instance, its storage in GiB and the most connections that its class takes; null where there is none yet, as in a region that waits."
  type = object({
    id              = string
    storage_gib     = number
    max_connections = number
  })
  default = null
}

variable "redis" {
  description = "Id of the replication group and how many nodes it has; null where there is none yet."
  type = object({
    id    = string
    nodes = number
  })
  default = null
}

variable "airflow_name" {
  description = "Name of the MWAA environment; null where there is none."
  type        = string
  default     = null
}

variable "thresholds" {
  description = "When alarms go off. The defaults are the platform's: HighErrorRate, HighLatency, SystemDown, HighCPUUsage, HighMemoryUsage, DiskSpaceLow, HighDatabaseConnections, DatabaseConnectionsExhausted, RedisMemoryHigh."
  type = object({
    error_percent                = optional(number, 1)
    error_minutes                = optional(number, 5)
    latency_p99_seconds          = optional(number, 0.2)
    latency_minutes              = optional(number, 10)
    down_minutes                 = optional(number, 2)
    cpu_percent                  = optional(number, 80)
    memory_percent               = optional(number, 85)
    storage_free_percent         = optional(number, 15)
    connections_warning_percent  = optional(number, 80)
    connections_critical_percent = optional(number, 95)
    redis_memory_percent         = optional(number, 90)
  })
  default = {}
}
