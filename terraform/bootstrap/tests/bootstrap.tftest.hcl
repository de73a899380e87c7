mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
}

mock_provider "aws" {
  alias = "dr"
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
}

run "a_bucket_in_each_region" {
  command = plan

  assert {
    condition     = var.bucket == "autotrader-terraform-state" && var.region == "eu-west-1"
    error_message = "What versions.tf of the root names."
  }
}

run "the_same_region_twice_is_refused" {
  command = plan

  variables {
    region    = "eu-west-1"
    dr_region = "eu-west-1"
  }

  expect_failures = [var.dr_region]
}
