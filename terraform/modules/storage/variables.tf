variable "environment" {
  description = "dev, staging or production: part of every name."
  type        = string
}

variable "prefix" {
  description = "Bucket names, which are global, begin with it: the setting AUTOTRADER_AWS__PREFIX."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,40}$", var.prefix))
    error_message = "Expected 2 to 41 characters of a-z, 0-9 and -, was ${var.prefix}."
  }
}

variable "database_subnet_ids" {
  description = "Subnets without a way out, one a zone, for RDS and Redis."
  type        = list(string)
}

variable "security_group_ids" {
  description = "By role; `database` and `cache` are used."
  type        = map(string)
}

variable "kms_key_arn" {
  description = "Key of everything here (./key)."
  type        = string
}

variable "redis_auth_token" {
  description = "What the cache's clients name (./values)."
  type        = string
  sensitive   = true
}

variable "redis_url_secret_id" {
  description = "Secret that the cache's URL, with the token in it, is written into (./secrets)."
  type        = string
}

variable "copies" {
  description = "Where buckets, images and database backups are copied to (output `targets` of ./copies); null: nowhere."
  type = object({
    region      = string
    kms_key_arn = string
    vault_arn   = string
    bucket_arns = map(string)
  })
  default = null
}

variable "protect" {
  description = "Refuses to delete the database, and buckets, vaults and repositories that hold something."
  type        = bool
}

variable "database" {
  description = "Size and care of PostgreSQL. `snapshot` restores from one, at creation only."
  type = object({
    instance_class        = string
    allocated_storage     = number
    max_allocated_storage = number
    multi_az              = bool
    backup_days           = number
    max_connections       = number
    engine_version        = optional(string, "15.13") # pg_dump of the platform image is of 15 and refuses newer servers
    snapshot              = optional(string)
  })

  validation {
    condition     = var.database.backup_days >= 1 && var.database.backup_days <= 35
    error_message = "Expected 1 to 35 days of backups (RDS), was ${var.database.backup_days}."
  }
}

variable "cache" {
  description = "Size of Redis; two nodes and more stand in different zones and fail over."
  type = object({
    node_type = string
    nodes     = number
  })
}

variable "backup_days" {
  description = "How long the hourly copies of AWS Backup, and noncurrent versions in the buckets, are kept."
  type        = number
}

variable "create_repository" {
  description = "False where another environment in the same account and region has made the repository `autotrader`."
  type        = bool
  default     = true
}
