# One repository, tags `<image>-<version>` that never move.

locals {
  repository_arn = "arn:${local.partition}:ecr:${local.region}:${local.account}:repository/autotrader"
  repository_url = "${local.account}.dkr.ecr.${local.region}.amazonaws.com/autotrader"
}

resource "aws_ecr_repository" "this" {
  count = var.create_repository ? 1 : 0

  name                 = "autotrader"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = !var.protect

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = var.kms_key_arn
  }

  image_scanning_configuration {
    scan_on_push = true
  }
}

# A rollback needs the image of the version before, and a release lives for weeks: 50 of each image.
resource "aws_ecr_lifecycle_policy" "this" {
  count = var.create_repository ? 1 : 0

  repository = aws_ecr_repository.this[0].name

  policy = jsonencode({
    rules = concat(
      [for index, image in ["serving", "platform", "airflow"] : {
        rulePriority = 10 + index
        description  = "The newest 50 of ${image}"
        selection    = { tagStatus = "tagged", tagPrefixList = ["${image}-"], countType = "imageCountMoreThan", countNumber = 50 }
        action       = { type = "expire" }
      }],
      [{
        rulePriority = 100
        description  = "Layers that no tag names"
        selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 7 }
        action       = { type = "expire" }
      }],
    )
  })
}

# A setting of the registry, of which an account has one in each region.
resource "aws_ecr_replication_configuration" "dr" {
  count = var.create_repository ? local.copies : 0

  replication_configuration {
    rule {
      destination {
        region      = var.copies.region
        registry_id = local.account
      }

      repository_filter {
        filter      = aws_ecr_repository.this[0].name
        filter_type = "PREFIX_MATCH"
      }
    }
  }
}
