variable "environment" {
  description = "dev, staging or production: part of every name."
  type        = string
}

variable "cidr_block" {
  description = "Addresses of the VPC. A /16, so that the subnets' sizes below hold."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrhost(var.cidr_block, 0)) && endswith(var.cidr_block, "/16")
    error_message = "Expected a /16 such as 10.0.0.0/16, was ${var.cidr_block}: subnets are cut from it by fixed sizes."
  }
}

variable "availability_zone_count" {
  description = "In how many availability zones everything stands: 2 in dev, 3 in production."
  type        = number

  validation {
    condition     = var.availability_zone_count >= 2 && var.availability_zone_count <= 3
    error_message = "Expected 2 or 3 availability zones, was ${var.availability_zone_count}."
  }
}

variable "interface_endpoints" {
  description = "AWS services that are reached without the NAT gateways, beside S3."
  type        = set(string)
  default     = ["ecr.api", "ecr.dkr", "logs", "secretsmanager"]
}

variable "flow_log_retention_days" {
  description = "How long the VPC's flow logs are kept."
  type        = number
  default     = 365
}

variable "broker_ports" {
  description = "TCP ports beside 443 that brokers listen on: Interactive Brokers' gateway speaks to its servers on 4000 and 4001."
  type        = set(number)
  default     = [4000, 4001]
}
