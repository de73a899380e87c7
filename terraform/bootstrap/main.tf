# Where Terraform's states live: once per account, before anything else. Its own state is a file beside it, which need not
# be kept: README.md says how to take the buckets on again.

provider "aws" {
  region      = var.region
  max_retries = 5
}

provider "aws" {
  alias       = "dr"
  region      = var.dr_region
  max_retries = 5
}

module "primary" {
  source = "./bucket"
  name   = var.bucket
}

module "dr" {
  source    = "./bucket"
  providers = { aws = aws.dr }
  name      = "${var.bucket}-dr"
}
