# A call that cannot succeed fails soon: the provider's own 25 tries take half an hour.

provider "aws" {
  region      = var.region
  max_retries = var.max_retries

  default_tags {
    tags = local.tags
  }
}

# Asked in production alone, where `replicate` is true.
provider "aws" {
  alias       = "dr"
  region      = var.dr_region
  max_retries = var.max_retries

  default_tags {
    tags = local.tags
  }
}

locals {
  tags = {
    Project     = "autotrader"
    Environment = var.environment
    ManagedBy   = "terraform"
  }
}
