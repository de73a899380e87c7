variable "environment" {
  description = "The environment that this stands by for: part of every name."
  type        = string
}

variable "prefix" {
  description = "Prefix of the replicas: that of the primary region and -dr."
  type        = string
}

variable "database_subnet_ids" {
  description = "Subnets without a way out, one a zone, for the restored database."
  type        = list(string)
}
