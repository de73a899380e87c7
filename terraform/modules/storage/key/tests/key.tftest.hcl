mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-west-1" }
  }
}

variables {
  environment = "dev"
  alias       = "autotrader-dev"
  description = "test"
}

run "the_key_rotates_and_serves_this_environments_log_groups_alone" {
  command = plan

  assert {
    condition     = aws_kms_key.this.enable_key_rotation
    error_message = "Rotated by AWS every year."
  }
  assert {
    condition = alltrue([
      for arn in jsondecode(aws_kms_key.this.policy).Statement[1].Condition.ArnLike["kms:EncryptionContext:aws:logs:arn"] :
      startswith(arn, "arn:aws:logs:eu-west-1:123456789012:log-group:") && strcontains(arn, "dev")
    ])
    error_message = "Log groups of this environment."
  }
  assert {
    condition     = [for statement in jsondecode(aws_kms_key.this.policy).Statement : statement.Sid if !can(statement.Condition)] == ["AccountDelegatesToIam"]
    error_message = "Services use it under a condition."
  }
}
