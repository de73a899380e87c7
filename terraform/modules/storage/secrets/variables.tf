variable "environment" {
  description = "dev, staging or production: part of every name."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the secrets."
  type        = string
}

variable "copies" {
  description = "Region and key of the copies that a failover needs; null: none."
  type = object({
    region      = string
    kms_key_arn = string
  })
  default = null
}

variable "protect" {
  description = "Whether a deleted secret can be had back for 30 days."
  type        = bool
}
