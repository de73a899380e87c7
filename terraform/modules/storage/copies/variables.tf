variable "environment" {
  description = "dev, staging or production: part of every name."
  type        = string
}

variable "prefix" {
  description = "Prefix of the primary region's buckets; the replicas' is this and -dr."
  type        = string
}

variable "backup_days" {
  description = "How long versions that were overwritten or deleted can be had back."
  type        = number
}

variable "protect" {
  description = "Refuses to delete what holds something."
  type        = bool
}
