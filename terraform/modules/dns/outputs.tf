output "private_zone_id" {
  description = "Zone of the private names."
  value       = aws_route53_zone.private.zone_id
}

output "private_names" {
  description = "By serving and database."
  value       = { serving = aws_route53_record.serving.name, database = aws_route53_record.database.name }
}

output "serving_name" {
  description = "What the certificate of the load balancer is of; null without a domain."
  value       = one(aws_route53_record.failover[*].name)
}

output "health_check_id" {
  description = "Whether this region serves; null without a domain."
  value       = one(aws_route53_health_check.serving[*].id)
}
