mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
}

variables {
  environment         = "production"
  prefix              = "acme-dr"
  database_subnet_ids = ["subnet-a", "subnet-b"]
}

run "it_finds_the_copies_by_their_names" {
  command = plan

  assert {
    condition     = output.bucket_names["models"] == "acme-dr-models" && output.bucket_arns["models"] == "arn:aws:s3:::acme-dr-models"
    error_message = "The replicas of modules/storage/copies."
  }
  assert {
    condition     = data.aws_secretsmanager_secret.copy["binance"].name == "autotrader/production/binance" && data.aws_kms_alias.copies.name == "alias/autotrader-production-copies"
    error_message = "The copies of secrets, and the key of all copies."
  }
  assert {
    condition     = output.ecr_repository_url == "123456789012.dkr.ecr.eu-central-1.amazonaws.com/autotrader"
    error_message = "The images that the registry copied."
  }
}

run "the_database_is_restored_to_where_nothing_gets_out" {
  command = plan

  assert {
    condition     = aws_db_subnet_group.this.name == "autotrader-production" && aws_db_parameter_group.this.name == "autotrader-production-postgres15"
    error_message = "The same names as in the primary region."
  }
}
