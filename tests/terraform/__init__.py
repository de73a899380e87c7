"""The Terraform, and the command that checks it."""
