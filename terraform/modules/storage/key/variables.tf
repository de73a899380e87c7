variable "environment" {
  description = "dev, staging or production: its log groups may be encrypted with the key."
  type        = string
}

variable "alias" {
  description = "Name of the key, without alias/."
  type        = string
}

variable "description" {
  description = "What it encrypts."
  type        = string
}
