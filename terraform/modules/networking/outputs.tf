output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "availability_zones" {
  description = "Zones in use, in the order of the subnets."
  value       = local.zones
}

output "public_subnet_ids" {
  description = "One a zone; they hold the NAT gateways alone."
  value       = aws_subnet.public[*].id
}

output "private_subnet_ids" {
  description = "One a zone; the tasks, MWAA and the internal load balancer."
  value       = aws_subnet.private[*].id
}

output "database_subnet_ids" {
  description = "One a zone, without a way out; RDS and Redis."
  value       = aws_subnet.database[*].id
}

output "security_group_ids" {
  description = "By role: alb, serving, trader, controller, api, mlflow, step, monitoring, ib-gateway, airflow, database, cache, efs, endpoints."
  value       = { for name, group in aws_security_group.this : name => group.id }
}

output "nat_addresses" {
  description = "What venues see as our address: bind API keys to these."
  value       = aws_eip.nat[*].public_ip
}
