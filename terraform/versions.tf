terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }

  # That of dev, so that a plain `terraform init` is enough there. The others, and another bucket:
  # terraform init -reconfigure -backend-config=environments/<environment>.s3.tfbackend
  # A state that belongs to another environment than the variable file is refused (main.tf).
  backend "s3" {
    bucket       = "autotrader-terraform-state"
    key          = "dev/terraform.tfstate"
    region       = "eu-west-1"
    encrypt      = true
    use_lockfile = true
  }
}
