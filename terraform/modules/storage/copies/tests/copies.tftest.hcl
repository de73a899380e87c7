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
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
}

variables {
  environment = "production"
  prefix      = "acme"
  backup_days = 30
  protect     = true
}

run "the_copies_have_the_names_of_a_standbys_own_buckets" {
  command = apply

  assert {
    condition     = output.bucket_names["data"] == "acme-dr-data" && output.targets.bucket_arns["data"] != null
    error_message = "<prefix>-dr-<name>: what AwsNames calls them where the prefix is <prefix>-dr."
  }
  assert {
    condition     = output.targets.region == "eu-central-1" && aws_backup_vault.this.name == "autotrader-production-copies"
    error_message = "In the region of the provider that the module was given."
  }
}
