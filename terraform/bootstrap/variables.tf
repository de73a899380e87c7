variable "bucket" {
  description = "Name of the state bucket; names are global. Another one is written into environments/*.s3.tfbackend and versions.tf as well."
  type        = string
  default     = "autotrader-terraform-state"

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,58}$", var.bucket))
    error_message = "Expected 2 to 59 characters of a-z, 0-9 and -, was ${var.bucket}."
  }
}

variable "region" {
  description = "Region of the states of dev, staging and production."
  type        = string
  default     = "eu-west-1"
}

variable "dr_region" {
  description = "Region of the standby's state, in a bucket of the same name and -dr."
  type        = string
  default     = "eu-central-1"

  validation {
    condition     = var.dr_region != var.region
    error_message = "Expected another region than ${var.region}: the standby's state is for when that one is lost."
  }
}
