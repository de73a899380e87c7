output "environment_name" {
  description = "Name of the MWAA environment; null where there is none."
  value       = one(aws_mwaa_environment.this[*].name)
}

output "environment_arn" {
  description = "ARN of the MWAA environment; null where there is none."
  value       = one(aws_mwaa_environment.this[*].arn)
}

output "webserver_url" {
  description = "Host of Airflow's web server, reached from within the VPC alone; null where there is none."
  value       = one(aws_mwaa_environment.this[*].webserver_url)
}

output "execution_role_arn" {
  description = "Role of the environment; null where there is none."
  value       = one(aws_iam_role.execution[*].arn)
}
