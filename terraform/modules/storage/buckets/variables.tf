variable "prefix" {
  description = "Bucket names are this and -data, -models, -logs, -features, -airflow, -backups."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of all buckets but the one of logs, in the buckets' region."
  type        = string
}

variable "noncurrent_days" {
  description = "How long a version that was overwritten or deleted can be had back."
  type        = number
}

variable "force_destroy" {
  description = "Whether a destroy deletes buckets that hold something."
  type        = bool
}
