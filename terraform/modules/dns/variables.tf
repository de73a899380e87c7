variable "environment" {
  description = "dev, staging or production: part of every name."
  type        = string
}

variable "vpc_id" {
  description = "Where the private names are known."
  type        = string
}

variable "load_balancer" {
  description = "The internal load balancer of the prediction service."
  type = object({
    dns_name   = string
    zone_id    = string
    arn_suffix = string
  })
}

variable "target_group_suffixes" {
  description = "ARN suffix of each colour's target group."
  type        = map(string)
}

variable "database_address" {
  description = "Host of the database; null in a standby, whose secrets name the restored one."
  type        = string
}

variable "domain" {
  description = "Domain of the certificate's names; null: private names alone."
  type        = string
  default     = null
}

variable "public_zone_id" {
  description = "Zone of the domain; needed with it."
  type        = string
  default     = null
}

variable "failover_role" {
  description = "PRIMARY where this region serves, SECONDARY in the stack that stands by."
  type        = string
  default     = "PRIMARY"

  validation {
    condition     = contains(["PRIMARY", "SECONDARY"], var.failover_role)
    error_message = "Expected PRIMARY or SECONDARY, was ${var.failover_role}."
  }
}
